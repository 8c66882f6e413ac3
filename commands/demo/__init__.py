"""The chapters of the demo's story: a few steps each, every one of which checks what it shows."""
