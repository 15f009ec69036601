"""Effects, wired together."""
