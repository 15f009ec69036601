"""What a study remembers: the values, the files that hold them, and their provenance."""
