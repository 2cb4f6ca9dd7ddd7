"""Clients as arrays: who is chosen."""
