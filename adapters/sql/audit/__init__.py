"""The checks that prove what the store must keep true (AUD)."""
