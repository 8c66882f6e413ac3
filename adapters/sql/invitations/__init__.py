"""Invitations, their acceptance, batches and reminders."""
