"""Bundles: one file with all that is needed to check a study, or to continue it elsewhere."""
