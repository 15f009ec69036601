"""What the sets of a sweep hold, whether they can answer its question, and how they are divided."""
