"""What a study as a whole says: judging, confirming, the conclusion."""
