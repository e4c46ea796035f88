"""Jobs that don't train: one a file."""
