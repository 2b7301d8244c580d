"""Policies at the paper's size and beyond: the draws that plain code makes, quick and lean."""

import time
import tracemalloc
from statistics import median

import numpy as np
import pytest
from outcomes import build, next_batch, outcome

from gainrl.curricula import Setting
from gainrl.curricula.blocks import BLOCK, smallest

PAPER = (40_000, 1024)
BOUND = 0.025
"""Seconds of a median step; benchmarks/curricula.py reports what it takes on a quiet machine."""


def setting(size, batch, seed=0):
    rng = np.random.default_rng(7)
    difficulty = rng.integers(0, 9, size) * 12.5
    return Setting(size, batch, seed, rng.permutation(size), difficulty)


# --- the same draws ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, BLOCK, BLOCK + 1, 3 * BLOCK - 7])
def test_the_smallest_values_are_those_of_a_stable_sort(size):
    values = np.random.default_rng(size).integers(0, 50, size).astype(float)  # many ties
    for count in (1, min(size, 300), size):
        found = smallest(lambda start, stop: values[start:stop], size, count)
        assert found.tolist() == np.argsort(values, kind="stable")[:count].tolist()


def plain_uniform(where):
    """Epochs as lists."""
    rng, queue = np.random.default_rng([where.seed, 11]), []
    while True:
        batch, queue = queue[: where.batch], queue[where.batch :]
        if len(batch) < where.batch:
            fresh = rng.permutation(where.size).tolist()
            fill = [row for row in fresh if row not in batch][: where.batch - len(batch)]
            queue = [row for row in fresh if row not in fill]
            batch = batch + fill
        yield batch


def plain_filter(where, solved):
    """The same without what is in the set `solved`."""
    rng, queue = np.random.default_rng([where.seed, 11]), []
    while True:
        batch = [row for row in queue if row not in solved]
        batch, queue = batch[: where.batch], batch[where.batch :]
        if len(batch) < where.batch:
            left = np.array([row for row in range(where.size) if row not in solved])
            fresh = rng.permutation(left).tolist()
            fill = [row for row in fresh if row not in batch][: where.batch - len(batch)]
            queue = [row for row in fresh if row not in fill]
            batch = batch + fill
        yield batch


@pytest.mark.parametrize(("size", "batch"), [(7, 5), (60, 8), (500, 33)])
def test_queues_draw_what_lists_draw(size, batch):
    where, solved = setting(size, batch, seed=3), set()
    uniform, plain = build("uniform", {}, where), plain_uniform(where)
    filtered, listed = build("accuracy_filter", {}, where), plain_filter(where, solved)
    for _ in range(40):
        assert next_batch(uniform).tolist() == next(plain)
        rows = next_batch(filtered)
        assert rows.tolist() == next(listed)
        right = (rows % 5 == 0) & (size - len(solved) > 2 * batch)
        filtered.observe(outcome(rows, np.where(right, 1.0, 0.5)))
        solved |= set(rows[right].tolist())
    assert len(solved) == filtered.filter.solved.sum()
    assert filtered.metrics()["dropped_share"] == len(solved) / size
    assert solved or size < 2 * batch


@pytest.mark.parametrize("size", [40_000, 2 * BLOCK + 11])
def test_gain_draws_the_largest_keys_of_all_ranks(size):
    where = setting(size, 64, seed=5)
    policy, rng = build("gain", {"sigma": 0.05}, where), np.random.default_rng([5, 12])
    for mu in (0.0, size / 3):
        policy.sampler.mu = mu
        keys = -((np.arange(size) - mu) ** 2) / (2 * (0.05 * size) ** 2) + rng.gumbel(size=size)
        assert next_batch(policy).tolist() == where.order[np.argsort(-keys)[:64]].tolist()


# --- time and memory -----------------------------------------------------------------------------


def steps(policy, count, batch):
    """Seconds of each step."""
    taken = []
    for step in range(count):
        began = time.perf_counter()
        rows = next_batch(policy)
        policy.observe(outcome(rows, (rows + step) % 3 / 2, 0.5))
        taken.append(time.perf_counter() - began)
        assert len(rows) == batch
    return taken


POLICIES = ["uniform", "gain", "adarft", "accuracy_filter", "dapo"]


@pytest.mark.alone
@pytest.mark.parametrize("name", POLICIES)
def test_choosing_a_batch_takes_a_fraction_of_a_step(name):
    assert median(steps(build(name, {}, setting(*PAPER)), 15, PAPER[1])) < BOUND


@pytest.mark.parametrize(
    ("name", "arrays"), [("gain", 1), ("adarft", 1), ("uniform", 1.2), ("accuracy_filter", 1.4)]
)
def test_a_million_prompts_are_not_copied(name, arrays):
    """Beyond what it is given: an epoch's permutation (8 MB a million) is all that is kept."""
    size, batch = 1_000_000, 1024
    where = setting(size, batch)
    tracemalloc.start()
    steps(build(name, {}, where), 2, batch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < arrays * 8 * size
