"""What the user declares: frozen values, no torch."""
