"""Times every registered curriculum: how much of a step does choosing prompts take?

    make bench-curricula
    python benchmarks/curricula.py --sizes 40000 --policies gain uniform

Prints, per policy and pool size N with batches of 1,024: median milliseconds of all draws of a step
and of `observe`, the slowest step, and the peak of the memory that start and steps took beyond what
they were given (by tracemalloc, in a run of its own, for tracing slows everything down).
"""

from __future__ import annotations

import argparse

from gainrl.curricula import REGISTRY
from gainrl.simulation.check import measure

SIZES = (40_000, 1_000_000, 10_000_000)


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
            cost = measure(name, size, steps)
            numbers = " | ".join(f"{each:.2f}" for each in vars(cost).values())
            print(f"| {name} | {size:,} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
