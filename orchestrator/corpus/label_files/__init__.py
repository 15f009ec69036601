"""Files that say what is said when in a recording. Pure."""
