"""The operator's commands: parse, call a client, print."""
