"""What is spoken: manifests, audio, diagnosis."""
