"""Which trial next: the only room that imports optuna."""
