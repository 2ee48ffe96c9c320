"""The ledger: one row for each attempt at a model call."""
