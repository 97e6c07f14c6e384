"""MLflow: the one writer."""
