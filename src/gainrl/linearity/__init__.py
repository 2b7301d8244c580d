"""How straight runs move, and what extrapolating them gives."""
