"""Commands that need no sweep file."""
