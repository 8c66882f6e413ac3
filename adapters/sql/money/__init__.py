"""The ledger, quotes, settlements, refunds, orders and their invoices."""
