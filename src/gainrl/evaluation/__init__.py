"""Evaluation: answers to held-out problems, graded by the same code as rewards."""
