"""Verdicts on a preset's claims."""
