"""Manifests made of what others published: folders, data sets of the hub, Kaldi."""
