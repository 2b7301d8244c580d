"""Our local trainer against TRL's `GRPOTrainer`: seconds of a GRPO step, alternating in one run.

    make .environments/trl-cpu/ready
    export PYTHONPATH=src
    .environments/trl-cpu/bin/python benchmarks/trainer.py                  # a nano model
    .environments/trl-cpu/bin/python benchmarks/trainer.py --model FOLDER   # one of a folder

Both train the same weights in float32 on the same prompts, with the same numbers of prompts,
rollouts and tokens, one update a step, no reference model, and a reward that is 1 for about half of
the answers. Prints the median over rounds of a round's median step, and the ratio of the pairs.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import torch
import transformers
import trl

from gainrl.config.arithmetic import processor
from gainrl.config.data import Generated
from gainrl.config.models import Nano
from gainrl.config.training import Training
from gainrl.curricula import Setting, build
from gainrl.data.generate import generate_splits
from gainrl.data.prompts import Prompts, encode
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.training.local.loop import LocalTrainer

COLD = 2
"""Steps at the beginning of a round that are not counted."""


def by_chance(text: str) -> float:
    return float(sum(map(ord, text)) % 2)


def ours(model: Any, tokenizer: Any, prompts: Prompts, asked: argparse.Namespace) -> list[float]:
    """Seconds of each step of `LocalTrainer`."""
    settings = Training(
        steps=asked.steps,
        prompts=asked.prompts,
        rollouts=asked.rollouts,
        max_response=asked.tokens,
        lr=1e-6,
        kl=0.0,
    )
    setting = Setting(len(prompts.ids), asked.prompts, 0, rollouts=asked.rollouts)
    trainer = LocalTrainer(
        model,
        tokenizer,
        prompts,
        ["0"] * len(prompts.ids),
        build({"name": "uniform"}, setting),
        settings,
        0,
        lambda texts, golds: list(map(by_chance, texts)),
    )
    return [trainer.step()[1]["seconds_step"] for _ in range(asked.steps)]


class Watch(transformers.TrainerCallback):
    """Notes when steps end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.ends.append(time.perf_counter())


def trls(model: Any, tokenizer: Any, prompts: Prompts, asked: argparse.Namespace) -> list[float]:
    """Seconds from each step's end to the next one's of `GRPOTrainer`."""
    texts = [tokenizer.decode(tokens) for tokens in prompts.tokens]
    with tempfile.TemporaryDirectory() as folder:
        config = trl.GRPOConfig(
            folder,
            max_steps=asked.steps,
            per_device_train_batch_size=asked.prompts * asked.rollouts,
            num_generations=asked.rollouts,
            max_completion_length=asked.tokens,
            learning_rate=1e-6,
            beta=0.0,
            gradient_checkpointing=False,
            bf16=False,
            save_strategy="no",
            logging_steps=asked.steps,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        watch = Watch()
        trainer = trl.GRPOTrainer(
            model,
            lambda completions, **more: list(map(by_chance, completions)),
            config,
            datasets.Dataset.from_dict({"prompt": texts}),
            processing_class=tokenizer,
            callbacks=[watch],
        )
        trainer.train()
    return [after - before for before, after in itertools.pairwise(watch.ends)]


def started(asked: argparse.Namespace) -> tuple[Any, Any]:
    """The model and its tokenizer; a nano model has random weights, so answers are never short."""
    torch.manual_seed(0)
    if asked.model is None:
        tokenizer = build_tokenizer()
        return build_model(Nano(source="nano"), len(tokenizer)), tokenizer
    load = transformers.AutoModelForCausalLM.from_pretrained
    return load(asked.model, dtype=torch.float32), transformers.AutoTokenizer.from_pretrained(
        asked.model
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a Hugging Face folder; default: a nano model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48, help="of a response at most")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    times: dict[str, list[float]] = {"ours": [], "TRL": []}
    for turn in range(asked.rounds):
        for name in list(times)[:: 1 if turn % 2 else -1]:
            model, tokenizer = started(asked)
            spec = Generated(source="generate", task="chain", train=256, eval=1)
            table = generate_splits(spec, "chain")["train"]
            prompts = encode(tokenizer, list(table["id"]), list(table["question"]))
            run = ours if name == "ours" else trls
            times[name].append(median(run(model, tokenizer, prompts, asked)[COLD:]))
    pairs = [theirs / own for own, theirs in zip(times["ours"], times["TRL"], strict=True)]
    print(f"{processor() or platform.machine()}, {asked.threads} thread(s), torch", end=" ")
    print(f"{torch.__version__}, transformers {transformers.__version__}, TRL {trl.__version__}")
    for name, found in times.items():
        print(
            f"{name}: {median(found):.3f} s a step (rounds: {min(found):.3f} to {max(found):.3f})"
        )
    print(f"TRL / ours: median {median(pairs):.2f}, {min(pairs):.2f} to {max(pairs):.2f}")


if __name__ == "__main__":
    main()
