"""Manifests, which are lists of recordings with their texts: read from any of the common formats,
and written.
"""
