"""The operator's commands: parse, ask the client, print."""
