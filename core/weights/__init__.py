"""Weights files: what is in them, how they are read and written, and the names that programs give to the same weights."""
