"""The machines: declarations only."""
