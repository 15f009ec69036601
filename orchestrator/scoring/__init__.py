"""What a number means: pure numpy."""
