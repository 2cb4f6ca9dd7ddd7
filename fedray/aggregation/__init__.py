"""Sums in a ring of integers, and what is made of them."""
