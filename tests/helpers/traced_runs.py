"""Runs of the tiny preset whose snapshots were not trained but laid out by hand, for traces."""

from __future__ import annotations

import shutil

import torch
import yaml
from signal_places import TINY

from gainrl import plan
from gainrl.config.models import Nano
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.plan import RunKey
from gainrl.stages.common import Context
from gainrl.stages.data import prepare_data

STEPS = 4
STRAIGHT, ZIGZAG = (0, 1, 2, 3, 4), (0, 1, 0, 1, 0)
GRID = 2.0**-9
"""Weights are multiples of it, so that sums of a few are exact in fp32."""


def context_of(root, **changes):
    """The tiny preset with a section `linearity`, and without a warm-up."""
    data = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    del data["models"]["nano"]["warmup"], data["claims"]
    data["evaluation"]["temperature"], data["seeds"] = 1.0, [0, 1]
    data["linearity"] = {
        **{"models": ["nano"], "datasets": ["chain"], "methods": ["grpo"], "every": 1},
        **{"prompts": 6, "samples": 2, "walks": 500},
        "extrapolate": [{"from": 0, "to": 2, "target": 4}],
        **changes,
    }
    return Context(plan.load(data), root)


def key_of(seed):
    return RunKey("nano", "chain", "grpo", seed)


def start(context):
    """Data, and a start model with weights on the grid."""
    prepare_data(context, "chain")
    tokenizer = build_tokenizer()
    spec = Nano(source="nano", hidden=32, layers=2, heads=2, feed_forward=64)
    model = build_model(spec, len(tokenizer)).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for weight in model.parameters():
            spread = torch.randn(weight.shape, generator=generator) * 0.25
            weight.copy_((spread / GRID).round() * GRID)
    folder = context.layout.model("nano")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def lay_out(context, seed, path):
    """A run of which a third of the weights stand still and the others go `path[step]` x +-GRID."""
    model, tokenizer = start(context)
    key = key_of(seed)
    shutil.rmtree(context.layout.run(key), ignore_errors=True)
    generator = torch.Generator().manual_seed(100 + seed)
    begin = [weight.detach().clone() for weight in model.parameters()]
    ways = [torch.randint(-1, 2, weight.shape, generator=generator) * GRID for weight in begin]
    for step in range(1, STEPS + 1):
        with torch.no_grad():
            for weight, first, way in zip(model.parameters(), begin, ways, strict=True):
                weight.copy_(first + path[step] * way)
        folder = context.layout.snapshot(key, step)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    still = sum(int((way == 0).sum()) for way in ways)
    return still, sum(way.numel() for way in ways)
