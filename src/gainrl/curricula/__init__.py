"""Data curricula: which prompts the next RL step sees. Numpy only; one file a policy."""

from gainrl.curricula.base import Groups, Outcome, Prefilled, Request, Setting
from gainrl.curricula.batches import BatchCurriculum, make
from gainrl.curricula.curriculum import Curriculum
from gainrl.curricula.parts import Allocation, Filter, Sampler
from gainrl.curricula.registry import REGISTRY, build, check_defaults, compose, discover, register

__all__ = [
    "REGISTRY",
    "Allocation",
    "BatchCurriculum",
    "Curriculum",
    "Filter",
    "Groups",
    "Outcome",
    "Prefilled",
    "Request",
    "Sampler",
    "Setting",
    "build",
    "check_defaults",
    "compose",
    "make",
    "register",
]

discover()
