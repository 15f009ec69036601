"""Decoding speech to text: greedy decoding, the evaluation, pseudo labels, audio files."""
