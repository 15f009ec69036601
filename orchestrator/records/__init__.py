"""What is remembered: values, files, provenance."""
