"""Process assembly: settings, wiring, the Temporal connection, recovery, the outbox relay."""
