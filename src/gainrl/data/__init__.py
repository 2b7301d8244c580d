"""Data sets: sources, generators, prompt rendering and segments."""
