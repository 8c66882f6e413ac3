"""The embedded stack: a real Temporal server, a mailbox, a web server, a worker."""
