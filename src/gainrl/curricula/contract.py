"""What every curriculum promises a trainer, as checks that a test points at one of its own.

    from gainrl.curricula.contract import CHECKS

    @pytest.mark.parametrize("check", CHECKS)
    def test_contract(check):
        check({"name": "my_module:MyPolicy", "floor": 0.1})

Each check takes what a preset may say (`gainrl.curricula.compose`) and raises AssertionError.
"""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gainrl.curricula.base import (
    FloatArray,
    Groups,
    IntArray,
    Moments,
    Outcome,
    Prefilled,
    Request,
    Setting,
)
from gainrl.curricula.curriculum import Curriculum
from gainrl.curricula.parts import generator
from gainrl.curricula.registry import NEEDS, build, compose
from gainrl.errors import ConfigError, DataError, UserError

SIZES = ((40, 6), (7, 5), (6, 6), (5, 1))
"""Prompts of the table and of a step: with room, around the end of an epoch, all, and one."""
STEPS, REQUESTS = 12, 200
PURPOSES = ("group", "estimate", "free", "prefill")


def example(size: int = 40, batch: int = 6, seed: int = 0) -> Setting:
    """A setting with everything that a curriculum may need."""
    rows, real = np.arange(size), np.arange(size, dtype=np.float64)
    components = {f"state{i:02d}": np.sin(real + i) for i in range(16)}
    return Setting(
        size,
        batch,
        seed,
        order=np.random.default_rng(size).permutation(size),
        difficulty=real % 9 * 12.5,
        categories=rows % 3,
        features={
            "tokens": real % 7,
            "c_intra": real / size,
            "c_inter": np.cos(real),
            **components,
        },
    )


@dataclass
class TrainerStep:
    """One step as a trainer makes it. asked: requests in their order; kept: positions in groups."""

    asked: list[Request] = field(default_factory=list)
    groups: Groups = field(default_factory=Groups.none)
    kept: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def run(curriculum: Curriculum, rng: np.random.Generator, steps: int = STEPS) -> list[TrainerStep]:
    """Steps with prompts that are never right, sometimes or always, in equal parts."""
    rates = np.arange(curriculum.setting.size) % 3 / 2
    return [_step(curriculum, rates, rng) for _ in range(steps)]


def _step(curriculum: Curriculum, rates: FloatArray, rng: np.random.Generator) -> TrainerStep:
    step = TrainerStep()
    estimates: Groups | Prefilled | None = None
    right: dict[int, tuple[int, int]] = {}
    while (request := curriculum.draw(step.groups, estimates)) is not None:
        assert len(step.asked) < REQUESTS, "draw never says that the step has enough"
        step.asked.append(request)
        if request.purpose == "prefill":
            estimates = Prefilled(request.rows, 2 + np.sin(request.rows))
            continue
        drawn = rng.binomial(request.rollouts, rates[request.rows])
        if request.purpose != "group":
            estimates = _groups(request.rows, request.rollouts, drawn)
            continue
        estimates = None
        for row, got, count in zip(request.rows.tolist(), drawn, request.rollouts, strict=True):
            before = right.get(row, (0, 0))
            right[row] = before[0] + int(got), before[1] + int(count)
        numbers = np.array(list(right.values()))
        step.groups = _groups(np.array(list(right)), numbers[:, 1], numbers[:, 0])
    step.kept = curriculum.keep(step.groups)
    curriculum.observe(_outcome(step, curriculum.reads_noise))
    return step


def _groups(rows: IntArray, rollouts: IntArray, right: IntArray) -> Groups:
    mixed = (right > 0) & (right < rollouts)
    return Groups(rows, rollouts, right / rollouts, mixed, 10 * rollouts)


def _outcome(step: TrainerStep, noisy: bool) -> Outcome:
    seen, trained = step.groups, np.zeros(len(step.groups.rows), dtype=bool)
    trained[step.kept] = True
    spread = 2 * seen.accuracy * (1 - seen.accuracy)
    return Outcome(
        rows=seen.rows,
        accuracy=seen.accuracy,
        signal=np.where(trained, np.cos(seen.rows), np.nan),
        advantage=np.where(trained, spread, np.nan),
        tokens=seen.tokens,
        rollouts=seen.rollouts,
        mixed=seen.mixed,
        trained=trained,
        moments=Moments(1.0, float(10 * seen.rows[0] + 40)) if noisy else None,
    )


# --- checks --------------------------------------------------------------------------------------


def check_draws(spec: Any) -> None:
    """Requests hold distinct rows of the table, and groups are kept once each, at least one."""
    for size, batch in SIZES:
        curriculum = build(spec, example(size, batch))
        for step in run(curriculum, np.random.default_rng(1)):
            where = f"of {size} prompts, {batch} a step"
            for request in step.asked:
                rows = request.rows
                assert rows.ndim == 1, f"rows are not (P,) but {rows.shape}, {where}"
                assert np.issubdtype(rows.dtype, np.integer), f"rows are {rows.dtype}, {where}"
                assert len(np.unique(rows)) == len(rows), f"a row is drawn twice, {where}"
                assert rows.min() >= 0, f"a row below 0, {where}"
                assert rows.max() < size, f"a row beyond the table, {where}"
                assert request.purpose in PURPOSES, f"unknown purpose '{request.purpose}'"
            if not curriculum.several_draws:
                assert len(step.asked) == 1, f"draws {len(step.asked)} times: set several_draws"
            if curriculum.whole_batches:
                assert len(step.asked[0].rows) == batch, f"{len(step.asked[0].rows)} rows, {where}"
            kept = step.kept
            assert len(kept), f"keeps nothing, {where}"
            assert len(np.unique(kept)) == len(kept), f"keeps a group twice, {where}"


def check_counts(spec: Any) -> None:
    """The sampler draws as many rows as it is asked for, up to the whole table."""
    curriculum = build(spec, example())
    run(curriculum, np.random.default_rng(1), 2)
    if curriculum.sampler.asks:
        return  # what it may draw, it was told in answer to what it asked
    for count in (1, 6, 23, 40):
        rows = curriculum.sampler.draw(count)
        assert len(rows) == len(np.unique(rows)) == count, f"{len(rows)} rows in place of {count}"


def check_metrics(spec: Any) -> None:
    """Metrics are finite numbers of the same names in every step."""
    curriculum = build(spec, example())
    names = None
    for _ in range(4):
        run(curriculum, np.random.default_rng(1), 1)
        found = curriculum.metrics()
        for name, value in found.items():
            assert math.isfinite(float(value)), f"metric '{name}' is {value}"
        assert names in (None, list(found)), f"metrics were {names}, now {list(found)}"
        names = list(found)


def check_state(spec: Any) -> None:
    """A state that went through JSON continues exactly, whatever was done before it is loaded.

    Saved at the start and at random points, the same every time.
    """
    for steps in (0, *np.random.default_rng(4).choice(np.arange(1, 30), 3, replace=False)):
        curriculum, other = (build(spec, example()) for _ in range(2))
        run(curriculum, np.random.default_rng(1), steps)
        state = json.loads(json.dumps(curriculum.state_dict(), allow_nan=False))
        expected = _shown(curriculum)
        run(other, np.random.default_rng(2), 3)
        other.load_state_dict(state)
        assert _shown(other) == expected, f"another course after a restart at step {steps}"


def check_poison(spec: Any) -> None:
    """A reward that is no number is refused by the row's name, and nothing of it is learned."""
    curriculum = build(spec, example())
    run(curriculum, np.random.default_rng(1), 2)
    rows = np.array([3, 8])
    ones = np.ones(2)
    whole = np.full(2, 8)
    poisoned = Outcome(rows, np.array([0.5, np.nan]), ones, ones, whole, whole, ones > 0, ones > 0)
    before = json.dumps(curriculum.state_dict())
    try:
        curriculum.observe(poisoned)
    except DataError as error:
        said = str(error)
    else:
        raise AssertionError("an accuracy that is no number was observed")
    assert "row 8" in said, f"the error does not name row 8: {said}"
    assert json.dumps(curriculum.state_dict()) == before, "something was learned of a bad step"
    run(curriculum, np.random.default_rng(1), 2)


def check_small(spec: Any) -> None:
    """A table that is smaller than a batch is refused, and one of exactly a batch is not."""
    try:
        build(spec, example(4, 6))
    except ConfigError:
        pass
    else:
        raise AssertionError("a batch of 6 from a table of 4 was not refused")
    run(build(spec, example(6, 6)), np.random.default_rng(1), 3)


def check_seeds(spec: Any) -> None:
    """One seed gives the same draws every time, whatever numpy's global generator does."""
    np.random.seed(1)
    first = _shown(build(spec, example(seed=3)))
    np.random.seed(2)
    assert _shown(build(spec, example(seed=3))) == first, "two runs of a seed differ"


def check_generator(spec: Any) -> None:
    """Chance comes from the generator of the run's seed and the sampler's name."""
    sampler = compose(spec).sampler
    assert sampler.name, "the sampler has no name"
    sampler.bind(example(seed=5))
    own = sampler.rng.bit_generator.state["state"]["inc"]  # the same however much was drawn
    fresh = np.random.default_rng([5, sampler.stream]) if sampler.stream is not None else None
    named = fresh or generator(5, sampler.name)
    assert own == named.bit_generator.state["state"]["inc"], "the generator was replaced"


def check_needs(spec: Any) -> None:
    """Needs are among what a setting can have."""
    unknown = compose(spec).sampler.needs - set(NEEDS)
    assert not unknown, f"needs {sorted(unknown)}; known: {sorted(NEEDS)}"


def check_reads(spec: Any, settings: Sequence[Mapping[str, Any]]) -> None:
    """What a step asks for goes by these values of `Setting`: not all give one course of steps.

    None of CHECKS: a policy may well decide such a thing itself, but then tuning it finds nothing.
    """
    courses = [_shown(build(spec, replace(example(), **values))) for values in settings]
    same = all(course == courses[0] for course in courses)
    assert not same, "the same steps, whichever of these values is tried"


def _shown(curriculum: Curriculum) -> list[Any]:
    """A course of steps as plain values."""
    return [
        [
            *([r.rows.tolist(), r.rollouts.tolist(), r.purpose] for r in step.asked),
            step.kept.tolist(),
            curriculum.metrics(),
        ]
        for step in run(curriculum, np.random.default_rng(7), 8)
    ]


CHECKS = (
    check_draws,
    check_counts,
    check_metrics,
    check_state,
    check_poison,
    check_small,
    check_seeds,
    check_generator,
    check_needs,
)


def failure(check: Any, spec: Any) -> str:
    """Why a check failed, on one line; empty if it passed. Whatever a policy raises is a reason."""
    try:
        check(spec)
    except (AssertionError, UserError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    except Exception as error:  # noqa: BLE001 - the policy is somebody else's
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        return f"{type(error).__name__}: {' '.join(str(error).split())} ({place})"
    return ""
