"""Process utilities: signals that stop a run, the end of child processes, context managers."""
