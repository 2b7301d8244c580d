"""RL algorithms by name: one file each, for both backends. No torch."""

from gainrl.training.algorithms.base import REGISTRY, Algorithm, discover, named

__all__ = ["REGISTRY", "Algorithm", "named"]

discover()
