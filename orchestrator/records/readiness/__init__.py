"""Whether sets, model and installed packages are ready for a sweep, before anything trains."""
