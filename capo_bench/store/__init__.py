"""The results folder: its layout, locks, stages under keys, the ledger, the provenance of results."""
