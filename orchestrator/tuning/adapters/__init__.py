"""What is trained: adapters, the pack that holds many of them, and how they are exported."""
