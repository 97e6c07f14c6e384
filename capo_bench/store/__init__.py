"""Where results live: the folder, its locks, stages under keys, the ledger, where a result came from."""
