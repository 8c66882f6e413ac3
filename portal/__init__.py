"""The web application: the pages of invitees, and the webhook of payment providers."""
