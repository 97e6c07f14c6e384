"""Processes: the signals that stop a run, and the end of whatever it started."""
