"""Tracking in MLflow; no other room writes to it."""
