"""What goes wrong on real machines, and what must be left of it."""
