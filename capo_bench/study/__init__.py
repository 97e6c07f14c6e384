"""Turn a study in YAML into a plan: spec, expansion, identity of trials, estimates."""
