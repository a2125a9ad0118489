"""Pictures of a dataset, of predictions and of a training run."""
