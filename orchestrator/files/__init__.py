"""How files are written and read: whole or not at all, under names of their own until then."""
