"""Durable orchestration: the only place that waits."""
