"""`gainrl order FILE`: a data set in the order of a signal, for trainers that do not shuffle."""
