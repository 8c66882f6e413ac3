"""The web: what payment providers tell, and later the pages of invitees and admins."""
