"""Learning curves of several methods against each other: intervals, equal cost, speed-ups."""
