"""Captions of tiles, written by a vision model of a local Ollama."""
