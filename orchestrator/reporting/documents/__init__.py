"""What the commands report: plans, standings, reports, comparisons, diagnoses."""
