"""How trials are trained and decoded: the only room, with corpus.audio, that imports torch."""
