"""What is heard: greedy decoding, the evaluation, pseudo labels, audio files."""
