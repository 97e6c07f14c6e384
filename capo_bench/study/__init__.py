"""A study in YAML becomes a plan: spec, expansion, identity of a trial."""
