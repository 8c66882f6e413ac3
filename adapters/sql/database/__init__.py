"""The engine, the tables, and transactions."""
