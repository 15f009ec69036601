"""How it is trained: the step, its data, the optimizer, checkpoints."""
