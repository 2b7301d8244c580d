"""What a curriculum costs in TRL's `GRPOTrainer`: steps a second with and without, alternating.

    make .environments/trl-cpu/ready
    PYTHONPATH=src .environments/trl-cpu/bin/python benchmarks/trl.py --rounds 7 --steps 40

A tiny random model on a CPU, 100,000 prompts, 4 a step with 4 completions of 16 tokens each: a step
is so short that what a curriculum adds weighs more than in a real run. CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import datasets
from trl import GRPOConfig, GRPOTrainer

from gainrl.integrations.trl import GRPOCurriculum

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "trl"))
import tiny

SIZE = 100_000


def odd(completion_ids, **more):
    return [float(sum(ids) % 2) for ids in completion_ids]


def seconds(model: str, rows: datasets.Dataset, name: str | None, steps: int, out: str) -> float:
    """CPU seconds a step."""
    args = GRPOConfig(
        out,
        max_steps=steps,
        per_device_train_batch_size=16,
        num_generations=4,
        max_completion_length=16,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        shuffle_dataset=False,
    )
    if name is None:
        trainer = GRPOTrainer(model, odd, args, rows)
    else:
        curriculum = GRPOCurriculum(name, rows, args)
        reward = curriculum.reward(odd)
        trainer = GRPOTrainer(model, reward, args, curriculum.dataset, callbacks=[curriculum])
    began = time.process_time()
    trainer.train()
    return (time.process_time() - began) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--policy", default="mopps")
    arguments = parser.parse_args()
    rows = datasets.Dataset.from_dict({"prompt": [f"{n % 40} + 1 = ?" for n in range(SIZE)]})
    times: dict[str | None, list[float]] = {None: [], arguments.policy: []}
    with tempfile.TemporaryDirectory() as folder:
        tiny.write_model(folder)
        seconds(folder, rows, None, 5, folder)  # what is slow the first time
        for turn in range(arguments.rounds):
            order = list(times) if turn % 2 else list(times)[::-1]
            for name in order:
                times[name].append(seconds(folder, rows, name, arguments.steps, folder))
    plain, with_it = (times[name] for name in (None, arguments.policy))
    ratios = [b / a - 1 for a, b in zip(plain, with_it, strict=True)]
    print(f"without: {1 / median(plain):.2f} steps a CPU second; with: {1 / median(with_it):.2f}")
    print(f"overhead: median of pairs {100 * median(ratios):+.1f}%")
    print("pairs:", " ".join(f"{100 * each:+.1f}%" for each in ratios))


if __name__ == "__main__":
    main()
