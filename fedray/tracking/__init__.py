"""MLflow, fed from the run folder: the only folder that imports mlflow."""
