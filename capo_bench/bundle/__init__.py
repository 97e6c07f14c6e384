"""Bundles: one file with everything that is needed to check a study, or to continue it elsewhere."""
