"""Supervised warm-up and reinforcement fine-tuning."""
