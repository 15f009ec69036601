"""Training and decoding of trials: the only package, beside corpus.recordings.audio, that imports
torch.
"""
