"""Whether all of that does what it says, on the model and data at hand."""
