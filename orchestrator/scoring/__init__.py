"""Error rates, their confidence bounds, and the judgement of limits. No study's file, no torch."""
