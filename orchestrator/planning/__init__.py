"""Plans of trials and sweeps, and what they cost, as plain values that convert to and from JSON."""
