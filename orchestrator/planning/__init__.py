"""What will run: plain values, JSON both ways."""
