"""Verifying: every number of a report derived again from what was asked, answered and recorded."""
