"""Signals that a prefill pass gives: the angle concentration of Eq. 5 and what surrounds it."""
