"""The machine and what surrounds a process on it: cores and memory, parents, local ports, the hub."""
