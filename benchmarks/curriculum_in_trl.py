"""What a curriculum costs in TRL's `GRPOTrainer`: steps a second with and without, alternating.

    make .environments/trl-cpu/ready
    export PYTHONPATH=src
    .environments/trl-cpu/bin/python benchmarks/curriculum_in_trl.py

A tiny random model on a CPU, 100,000 prompts, 4 a step with 4 completions of 16 tokens each: a step
is so short that what a curriculum adds weighs more than in a real run, and less with --completion
256. CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
from trl import GRPOConfig, GRPOTrainer

from gainrl.integrations.trl import GRPOCurriculum

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "trl"))
import tiny

SIZE = 100_000


def odd(completion_ids, **more):
    return [float(sum(ids) % 2) for ids in completion_ids]


class Watched(GRPOCurriculum):
    """Notes the seconds that it takes to fill places, and to be told rewards."""

    spent = 0.0

    def example_at(self, place):
        began = time.perf_counter()
        found = super().example_at(place)
        Watched.spent += time.perf_counter() - began
        return found

    def _observe(self, *told):
        began = time.perf_counter()
        super()._observe(*told)
        Watched.spent += time.perf_counter() - began


def seconds(
    model: str, rows: datasets.Dataset, name: str | None, steps: int, tokens: int, out: str
) -> tuple[float, ...]:
    """CPU seconds a step; seconds a step in the curriculum, and their share of the run."""
    args = GRPOConfig(
        out,
        max_steps=steps,
        per_device_train_batch_size=16,
        num_generations=4,
        max_completion_length=tokens,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        shuffle_dataset=False,
    )
    if name is None:
        trainer = GRPOTrainer(model, odd, args, rows)
    else:
        curriculum = Watched(name, rows, args)
        reward = curriculum.reward(odd)
        trainer = GRPOTrainer(model, reward, args, curriculum.dataset, callbacks=[curriculum])
    began, Watched.spent = time.perf_counter(), 0.0
    cpu = time.process_time()
    trainer.train()
    whole, cpu = time.perf_counter() - began, time.process_time() - cpu
    return cpu / steps, Watched.spent / steps, Watched.spent / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--policy", default="mopps")
    parser.add_argument("--completion", type=int, default=16, help="tokens")
    asked = parser.parse_args()
    rows = datasets.Dataset.from_dict({"prompt": [f"{n % 40} + 1 = ?" for n in range(SIZE)]})
    times: dict[str | None, list[tuple[float, ...]]] = {None: [], asked.policy: []}
    with tempfile.TemporaryDirectory() as folder:
        tiny.write_model(folder)
        seconds(folder, rows, None, 5, asked.completion, folder)  # what is slow the first time
        for turn in range(asked.rounds):
            order = list(times) if turn % 2 else list(times)[::-1]
            for name in order:
                found = seconds(folder, rows, name, asked.steps, asked.completion, folder)
                times[name].append(found)
    plain, with_it = (np.array(times[name]) for name in (None, asked.policy))
    pairs = with_it[:, 0] / plain[:, 0] - 1
    rates = 1 / np.median(plain[:, 0]), 1 / np.median(with_it[:, 0])
    print(f"without: {rates[0]:.2f} steps a CPU second; with: {rates[1]:.2f}")
    best = with_it[:, 0].min() / plain[:, 0].min() - 1
    print(f"fastest runs: {best:+.1%}; pairs: median {np.median(pairs):+.1%}", end=", ")
    print(f"{pairs.min():+.1%} to {pairs.max():+.1%}")
    spent = 1000 * np.median(with_it[:, 1]), np.median(with_it[:, 2])
    print(f"in the curriculum: {spent[0]:.1f} ms a step, {spent[1]:.2%} of the run")


if __name__ == "__main__":
    main()
