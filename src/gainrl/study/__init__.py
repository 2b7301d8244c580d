"""What the angle signal goes with: measurements, a table, figures."""
