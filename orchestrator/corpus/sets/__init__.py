"""The sets of a sweep: what they hold, whether they can answer its question, and how a set is
divided.
"""
