"""Curricula without a model: learners, a loop like the trainer's, and its step records."""
