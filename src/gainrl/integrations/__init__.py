"""The curricula inside other people's trainers."""
