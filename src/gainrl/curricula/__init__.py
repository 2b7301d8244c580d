"""Data curricula: which prompts the next RL step sees. Numpy only; one file a policy."""

from gainrl.curricula.base import REGISTRY, Curriculum, Outcome, Setting, build, check, discover

__all__ = ["REGISTRY", "Curriculum", "Outcome", "Setting", "build", "check"]

discover()
