"""The harness: what a user runs."""
