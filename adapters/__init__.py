"""Implementations of the protocols: SQL, SMTP, Stripe, signed links."""
