"""Durable orchestration: the only layer that waits."""
