"""What a run does, in which order: the other packages wired together with their effects on disk."""
