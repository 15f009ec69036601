"""Declarative LoRA sweeps for small speech recognisers, judged against a guardrail."""
