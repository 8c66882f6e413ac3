"""The embedded stack: Temporal server, mailbox, web server and virtual clock."""
