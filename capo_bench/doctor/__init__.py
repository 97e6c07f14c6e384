"""Check whether this machine can run a study: what is missing, and how to get it."""
