"""Run trials on the machines of a Ray cluster."""
