"""Where else a study can be seen: each tracker has a process of its own that reads the study's files."""
