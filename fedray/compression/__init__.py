"""Codecs: what a vector costs on the wire, and what is left of it."""
