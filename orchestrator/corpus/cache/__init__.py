"""Sound that was decoded once, for all studies of a project."""
