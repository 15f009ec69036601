"""Training: the step, its data, the optimizer, checkpoints."""
