"""Graders: from a response and a gold answer to right or wrong."""
