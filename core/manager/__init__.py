"""The only door that the panels use."""
