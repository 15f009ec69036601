"""Faults of real machines (kills, broken disks, damaged files), and tests of what must be left of a
study after them.
"""
