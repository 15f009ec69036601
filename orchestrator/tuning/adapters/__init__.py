"""What is trained: adapters, the pack that holds many of them, and the forms they are exported
in.
"""
