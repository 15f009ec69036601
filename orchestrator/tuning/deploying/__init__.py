"""Exported forms of a model for devices, and the verification of what they transcribe."""
