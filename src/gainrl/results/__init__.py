"""What every result is made with: finished runs, statistics, tables as text, figures."""
