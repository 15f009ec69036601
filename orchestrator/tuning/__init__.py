"""Training and decoding: the only package, with corpus.recordings.audio, that imports torch."""
