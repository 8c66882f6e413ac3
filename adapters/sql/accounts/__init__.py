"""Accounts, their users, and the import that changes them."""
