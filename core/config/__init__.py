"""The jobs: what can be set for each, and how it is written."""
