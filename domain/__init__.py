"""Pure values and policies, wire models and errors: no Temporal, no I/O, no clock."""
