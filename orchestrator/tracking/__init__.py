"""Sends a study to experiment trackers. Each tracker has a process of its own that reads the
study's files.
"""
