"""A preset that the tests of config and planning change, and the line that a wrong one gives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from gainrl import plan
from gainrl.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]
PRESETS = [REPOSITORY / "config.yaml", *sorted((REPOSITORY / "experiments").glob("*.yaml"))]

BASE = yaml.safe_load(
    """
preset: small
seeds: [0, 1]
models:
  nano:
    source: nano
    warmup: {phases: [{datasets: [chain], steps: 5}]}
  other: {source: hub, id: someone/something}
datasets:
  chain: {source: generate, task: chain, train: 32, eval: 16, warmup: 64}
  word: {source: generate, task: word, train: 32, eval: 16}
  gsm: {source: registry, name: gsm8k}
training: {steps: 4, prompts: 8, rollouts: 4}
methods:
  grpo: {curriculum: uniform}
  adarft: {curriculum: {name: adarft, eta: 40}, difficulty: measured}
  gain: {curriculum: {name: gain, alpha: 1.5}, order: angle}
experiments:
  table1: {models: [nano], datasets: [chain, word], methods: [grpo, gain]}
  table2: {models: [nano, other], datasets: [chain], methods: [grpo, adarft],
           benchmarks: [word, gsm]}
"""
)


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """The base preset with one value set, made or (to is None) removed."""
    data = copy.deepcopy(BASE)
    at: Any = data
    for part in path[:-1]:
        at = at[part] if isinstance(at, list) else at.setdefault(part, {})
    if to is None:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return data


def error_of(data: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        plan.load(data)
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message
    return message
