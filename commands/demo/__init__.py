"""The demo and its chapters: a few steps each, every one of which checks its own result."""
