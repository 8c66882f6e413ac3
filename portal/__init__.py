"""The web application: the webhook of payment providers."""
