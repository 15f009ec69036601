"""The journal of a study, and files that are sealed in it or beside those that are."""
