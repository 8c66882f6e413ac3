"""The demo: chapters of a few steps, each of which checks its result."""
