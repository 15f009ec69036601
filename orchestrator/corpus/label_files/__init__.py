"""Label files: files that tell what is said in a recording, and when. Pure."""
