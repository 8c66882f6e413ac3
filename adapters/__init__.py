"""The protocols made real: SQL, SMTP, signed links."""
