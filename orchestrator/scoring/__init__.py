"""Error rates, their confidence bounds, and the judgement of limits. No file, no torch."""
