"""The start-up checks: whether training and decoding work as they should on this model and data."""
