"""Privacy: units, events, accounting, budgets, the ledger and its verification."""
