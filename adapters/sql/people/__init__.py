"""Everything that the store has about one person (OPS-9)."""
