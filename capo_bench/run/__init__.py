"""A plan becomes results: ledger, stages, worker processes, resume."""
