"""Scalability studies: a grid of runs, a cost model fitted to them, and what it says of larger clusters."""
