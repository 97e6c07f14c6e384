"""Run a plan: ledger, stages, worker processes, resume."""
