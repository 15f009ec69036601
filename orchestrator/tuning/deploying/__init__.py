"""The forms that a model leaves in, and what they hear."""
