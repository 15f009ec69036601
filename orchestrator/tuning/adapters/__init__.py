"""What is trained: adapters, the pack that holds many, and the form they leave in."""
