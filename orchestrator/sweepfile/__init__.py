"""The sweep file: reading, checking and writing it, and its values as immutable objects.
No torch.
"""
