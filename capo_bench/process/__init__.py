"""Processes: the signals that stop a run, the end of whatever it started, what holds meanwhile."""
