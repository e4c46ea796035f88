"""Reads the data sets of kohya's trainer as concepts."""
