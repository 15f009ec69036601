"""Judgement of a study as a whole: its trials, their confirmation, and the conclusion."""
