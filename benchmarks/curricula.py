"""Times every registered curriculum: how much of a step does choosing prompts take?

    make bench-curricula
    python benchmarks/curricula.py --sizes 40000 --policies gain uniform

Prints, per policy and pool size N with batches of 1,024: median milliseconds of all draws of a step
and of `observe`, the slowest step, and the peak of the memory that start and steps took beyond what
they were given (by tracemalloc, in a run of its own, for tracing slows everything down).
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from statistics import median

import numpy as np

from gainrl.config.simulation import Learner
from gainrl.curricula import REGISTRY, Setting, build
from gainrl.simulation.learner import ParametricLearner
from gainrl.simulation.run import simulate

SIZES = (40_000, 1_000_000, 10_000_000)
BATCH, ROLLOUTS = 1024, 8


class Watched:
    """A curriculum that is asked by the simulator and notes how long its parts take."""

    def __init__(self, policy) -> None:
        self.policy, self.whole_batches = policy, policy.whole_batches
        self.drawing: list[float] = []
        self.observing: list[float] = []

    def draw(self, seen, estimates):
        if len(self.drawing) == len(self.observing):  # the first draw of a step
            self.drawing.append(0.0)
        return self._timed(self.drawing, self.policy.draw, seen, estimates)

    def keep(self, seen):
        return self._timed(self.drawing, self.policy.keep, seen)

    def observe(self, outcome):
        self.observing.append(0.0)
        self._timed(self.observing, self.policy.observe, outcome)

    def metrics(self):
        return {}

    def _timed(self, times, call, *arguments):
        began = time.perf_counter()
        result = call(*arguments)
        times[-1] += time.perf_counter() - began
        return result


def setting(learner: ParametricLearner) -> Setting:
    pool = learner.pool
    return Setting(
        size=pool.size,
        batch=BATCH,
        seed=0,
        order=np.argsort(-pool.signal),
        difficulty=np.rint(pool.difficulty / 12.5) * 12.5,
        rollouts=ROLLOUTS,
        categories=pool.categories,
        features=pool.features,
    )


def measure(name: str, size: int, steps: int) -> tuple[float, float, float, float]:
    """Medians of drawing and observing, the slowest step (ms), and peak megabytes."""
    learner = ParametricLearner(Learner(pool=size, impossible=0.2, trivial=0.1), 0)
    known = setting(learner)
    watched = Watched(build(name, known))
    simulate(learner, watched, steps, 0)
    whole = [a + b for a, b in zip(watched.drawing, watched.observing, strict=True)]
    tracemalloc.start()
    simulate(learner, build(name, known), 3, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    times = (median(watched.drawing), median(watched.observing), max(whole))
    return *(1000 * each for each in times), peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--policies", nargs="+", default=sorted(REGISTRY), choices=sorted(REGISTRY))
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    print("| Policy | N | draws (ms) | observe (ms) | slowest step (ms) | extra memory (MB) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for size in arguments.sizes:
        steps = arguments.steps if size <= 100_000 else max(5, arguments.steps // 10)
        for name in arguments.policies:
            numbers = " | ".join(f"{each:.2f}" for each in measure(name, size, steps))
            print(f"| {name} | {size:,} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
