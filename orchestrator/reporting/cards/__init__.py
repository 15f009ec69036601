"""What is written beside exported models: cards and scripts."""
