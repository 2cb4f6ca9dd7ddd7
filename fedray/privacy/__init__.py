"""Clipping, noise and accounting."""
