"""One page on a policy of your own: its contract, what it costs at scale, and against uniform."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gainrl import files
from gainrl.compare import paired_difference
from gainrl.config.simulation import Learner
from gainrl.curricula import Setting, build, compose
from gainrl.curricula.contract import CHECKS, failure
from gainrl.errors import ConfigError
from gainrl.simulation.learner import ParametricLearner
from gainrl.simulation.run import simulate

BATCH, ROLLOUTS = 1024, 8
MANY, FEW_STEPS = 1_000_000, 5
STATES = 16
POOL = Learner(pool=2048, impossible=0.2, trivial=0.1)
"""Of the runs against uniform: prompts that cannot teach are what a policy can save."""
PROMPTS, STEPS, SEEDS = 64, 60, 5


@dataclass(frozen=True)
class Cost:
    """Medians of drawing and of observing a step, its slowest, in ms; memory beyond what is given.

    megabytes: the peak of start and three steps, by tracemalloc, in a run of its own.
    """

    draw: float
    observe: float
    slowest: float
    megabytes: float


def check_curriculum(
    policy: str, settings: Sequence[str] | None, size: int, out: Path | None
) -> int:
    """Print the page, or write it; the exit code is 1 if a check failed.

    Args:
        policy: a name or `module:Class`, or a preset's composition as JSON.
        settings: parameters as KEY=VALUE, values in JSON or plain text.
        size: prompts for time and memory.

    Raises:
        ConfigError: there is no such policy or parameter, or no prompt.
    """
    if size < 1:
        raise ConfigError(f"--size {size}: must be at least 1")
    spec = spec_of(policy, settings or ())
    composed = compose(spec)  # what is no policy at all is one line and no page
    failed = {check.__name__: failure(check, spec) for check in CHECKS}
    page = [f"# {policy}" + "".join(f", {each}" for each in settings or ()), "", *_contract(failed)]
    if any(failed.values()):
        page += ["", "Not measured: a policy that breaks its contract."]
    elif composed.goes_by:
        page += [
            "",
            f"Not measured: it goes by {composed.goes_by}, which a simulated step has not.",
        ]
    else:
        page += ["", *_scale(spec, size), "", *_simulated(spec)]
    text = "\n".join(page) + "\n"
    if out is None:
        print(text, end="")
    else:
        files.write_text(out, text)
    return int(any(failed.values()))


def spec_of(policy: str, settings: Sequence[str]) -> Any:
    """What a preset would say (ConfigError: a setting without a value, or beside JSON)."""
    if policy.startswith("{"):
        if settings:
            raise ConfigError(f"--set {settings[0]}: goes with a name; in JSON write it there")
        try:
            return files.parse_json(policy)
        except ValueError as error:
            raise ConfigError(f"curriculum: no JSON: {error}") from error
    spec: dict[str, Any] = {"name": policy}
    for each in settings:
        key, is_there, value = each.partition("=")
        if not is_there:
            raise ConfigError(f"--set {each}: not KEY=VALUE")
        try:
            spec[key] = files.parse_json(value)
        except ValueError:
            spec[key] = value
    return spec


def _contract(failed: Mapping[str, str]) -> list[str]:
    first: dict[str, str] = {}
    rows = []
    for check in CHECKS:
        reason = failed[check.__name__] or "passed"
        known = first.setdefault(reason, check.__name__)
        result = reason if reason == "passed" or known == check.__name__ else f"as {known}"
        rows.append(" ".join(f"| {check.__name__} | {result} | {check.__doc__} |".split()))
    return [
        "## Contract",
        "",
        "| check | result | what it holds it to |",
        "| --- | --- | --- |",
        *rows,
    ]


# --- time and memory -----------------------------------------------------------------------------


class Watched:
    """A curriculum that is asked by the simulator and notes how long its parts take, in seconds."""

    def __init__(self, policy: Any) -> None:
        self.policy, self.whole_batches = policy, policy.whole_batches
        self.goes_by = policy.goes_by
        self.drawing: list[float] = []
        self.observing: list[float] = []

    def draw(self, seen: Any, estimates: Any) -> Any:
        """As the policy's."""
        if len(self.drawing) == len(self.observing):  # the first draw of a step
            self.drawing.append(0.0)
        return self._timed(self.drawing, self.policy.draw, seen, estimates)

    def keep(self, seen: Any) -> Any:
        """As the policy's."""
        return self._timed(self.drawing, self.policy.keep, seen)

    def observe(self, outcome: Any) -> None:
        """As the policy's."""
        self.observing.append(0.0)
        self._timed(self.observing, self.policy.observe, outcome)

    def metrics(self) -> dict[str, float]:
        """None: they are no part of what is timed."""
        return {}

    def _timed(self, times: list[float], call: Any, *arguments: Any) -> Any:
        began = time.perf_counter()
        result = call(*arguments)
        times[-1] += time.perf_counter() - began
        return result


def setting_of(spec: Any, learner: ParametricLearner, batch: int, seed: int) -> Setting:
    """A setting with everything that a curriculum may need, on a learner's pool.

    States, where they are asked for, are noise: a simulated prompt has none.
    """
    pool, features = learner.pool, dict(learner.pool.features)
    assert pool.difficulty is not None
    if "states" in compose(spec).sampler.feature_kinds:
        noise = np.random.default_rng([seed, 7]).standard_normal((STATES, pool.size))
        features |= {f"state{i:02d}": values for i, values in enumerate(noise)}
    return Setting(
        size=pool.size,
        batch=batch,
        seed=seed,
        order=np.argsort(-pool.signal),
        difficulty=np.rint(pool.difficulty / 12.5) * 12.5,
        rollouts=ROLLOUTS,
        categories=pool.categories,
        features=features,
    )


def measure(spec: Any, size: int, steps: int) -> Cost:
    """Time and memory of a policy over a table of `size` prompts, 1,024 a step or all of fewer."""
    learner = ParametricLearner(Learner(pool=size, impossible=0.2, trivial=0.1), 0)
    known = setting_of(spec, learner, min(BATCH, size), 0)
    watched: Any = Watched(build(spec, known))
    simulate(learner, watched, steps, 0)
    whole = [a + b for a, b in zip(watched.drawing, watched.observing, strict=True)]
    tracemalloc.start()
    simulate(learner, build(spec, known), 3, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Cost(
        draw=1000 * median(watched.drawing),
        observe=1000 * median(watched.observing),
        slowest=1000 * max(whole),
        megabytes=peak / 1e6,
    )


def _scale(spec: Any, size: int) -> list[str]:
    rows = []
    for name, each in (("it", spec), ("uniform", "uniform")):
        c = measure(each, size, FEW_STEPS)
        rows.append(
            f"| {name} | {c.draw:.1f} | {c.observe:.1f} | {c.slowest:.1f} | {c.megabytes:.0f} |"
        )
    return [
        f"## Time and memory, {size:,} prompts, {min(BATCH, size):,} a step",
        "",
        "| | draws (ms) | observe (ms) | slowest step (ms) | extra memory (MB) |",
        "| --- | ---: | ---: | ---: | ---: |",
        *rows,
    ]


# --- against uniform -----------------------------------------------------------------------------


def _simulated(spec: Any) -> list[str]:
    """Final test accuracy and rollout tokens of runs in the simulator, by seed."""
    final: dict[str, list[float]] = {"it": [], "uniform": []}
    tokens: dict[str, list[int]] = {"it": [], "uniform": []}
    start = 0.0
    for seed in range(SEEDS):
        for name, each in (("it", spec), ("uniform", "uniform")):
            learner = ParametricLearner(POOL, seed)
            policy = build(each, setting_of(each, learner, PROMPTS, seed))
            run = simulate(learner, policy, STEPS, seed)
            start = run.start
            final[name].append(100 * run.steps[-1]["test_accuracy"])
            tokens[name].append(sum(step["rollout_tokens"] for step in run.steps))
    apart = paired_difference(final["it"], final["uniform"], 0.95)
    rows = [
        f"| {name} | {np.mean(final[name]):.1f} | {np.mean(tokens[name]):,.0f} |"
        for name in ("it", "uniform")
    ]
    return [
        f"## In the simulator: {POOL.pool:,} prompts, 30% of which teach nothing",
        "",
        f"{STEPS} steps of {PROMPTS} prompts x {ROLLOUTS}, {SEEDS} seeds, from {100 * start:.1f}% "
        "(docs/simulation.md has the learner).",
        "",
        "| | test accuracy at the end (%) | rollout tokens |",
        "| --- | ---: | ---: |",
        *rows,
        "",
        f"At equal steps it ends {apart.mean:+.1f} points [{apart.low:+.1f}, {apart.high:+.1f}] "
        "from uniform, paired by seed. A simulator is no model: this finds a policy that cannot "
        "work, not one that does.",
    ]
