"""Packs of packs: one study over many devices and processes of a machine, behind the one `Worker`
seam.
"""
