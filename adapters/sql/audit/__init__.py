"""The checks of the store's invariants (AUD)."""
