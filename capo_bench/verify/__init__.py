"""Verify a study: compute every number of its report again from requests, completions and records."""
