"""The tiny preset's signals: where the tests of scoring and of orders find them."""

from pathlib import Path

import yaml

from gainrl import plan
from gainrl.stages.common import Context

TINY = Path(__file__).parents[2] / "experiments" / "tiny.yaml"
KEYS = ("nano", "chain")


def context_of(root, seed=0, **scoring):
    """The tiny preset with a model of random weights, in batches of a few prompts."""
    changed = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    del changed["models"]["nano"]["warmup"]
    changed["models"]["nano"]["seed"] = seed
    changed["scoring"] = {"batch_tokens": 30, "also": ["released", "pre_norm"], **scoring}
    return Context(plan.load(changed), root)


def signals(root):
    return context_of(root).layout.signals(*KEYS)
