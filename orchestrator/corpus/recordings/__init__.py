"""What a recording is: its file found, opened, measured, and read as sound."""
