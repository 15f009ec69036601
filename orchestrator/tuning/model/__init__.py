"""What computes: the frozen model, its families, its decoder, and encoder frames that are kept."""
