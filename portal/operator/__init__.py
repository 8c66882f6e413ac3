"""The pages of operators, `/operator`, one module for each."""
