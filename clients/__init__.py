"""Typed clients of the workflows and the store, one file per noun."""
