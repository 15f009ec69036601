"""Recordings: finding an audio file, opening it, measuring it, and reading it as sound."""
