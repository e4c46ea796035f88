"""Weights files: what is in them, reading and writing them, and the names that programs give to the same weights."""
