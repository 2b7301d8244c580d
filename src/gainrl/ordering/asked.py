"""What `gainrl order FILE` may be asked for. Light imports only: the command line is made of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gainrl.errors import ConfigError

SIGNALS = ("angle", "offdiagonal", "residual")
BY = (*SIGNALS, "length", "pass-rate", "difficulty-column", "shuffled")
ENGINES = ("auto", "vllm", "transformers")
GRADERS = ("maths", "maths-tolerant", "code")
SPLIT = "train"


OPTIONS: dict[str, dict[str, Any]] = {
    "by": dict(choices=BY, help="what to sort by"),
    "out": dict(type=Path, help="file to write, of the same format"),
    "split": dict(default=SPLIT, help="of a data set of the hub; default: train"),
    "config": dict(help="of a data set of the hub"),
    "question_column": dict(help="text or chat messages; dots reach inside"),
    "answer_column": dict(help="gold answers, for pass rates"),
    "difficulty_column": dict(default="difficulty", help="for --by difficulty-column"),
    "pass_rate_column": dict(help="of the file, in place of measuring"),
    "system": dict(help="system message before questions that have none"),
    "drop_solved": dict(action="store_true", help="pass rate 1"),
    "drop_impossible": dict(action="store_true", help="pass rate 0"),
    "max_prompt": dict(type=int, help="drop longer ones, tokens"),
    "top": dict(type=int, help="rows to keep"),
    "grader": dict(choices=GRADERS, default="maths"),
    "samples": dict(type=int, default=8, help="answers a prompt; default: 8"),
    "temperature": dict(type=float, default=1.0, help="default: 1"),
    "max_response": dict(type=int, default=1024, help="tokens; default: 1024"),
    "engine": dict(choices=ENGINES, default="auto", help="that answers"),
    "vllm_python": dict(type=Path, help="of another environment, with vLLM"),
    "seed": dict(type=int, default=0, help="of shuffling and answers; default: 0"),
    "shards": dict(type=int, default=1, help="jobs that share the measuring"),
    "shard": dict(type=int, help="only measure: one of --shards, from 0"),
}
"""As argparse takes them, by the fields of `Asked`."""
RATES = ("answer_column", "grader", "samples", "temperature", "max_response", "engine",
         "vllm_python")  # fmt: skip
"""Those of measured pass rates."""
NEEDS = "needs --model, a folder or an id of the hub"


@dataclass(frozen=True)
class Shards:
    """Jobs that share the prompts; `one` is this job's, None for all, one after another."""

    count: int = 1
    one: int | None = None

    @property
    def mine(self) -> Sequence[int]:
        """Those of this job."""
        return range(self.count) if self.one is None else [self.one]


@dataclass(frozen=True)
class Answering:
    """How a model answers for its pass rates.

    engine: auto takes vLLM where it is installed; python: the interpreter of an environment with
    vLLM, None for this one.
    """

    samples: int = 8
    temperature: float = 1.0
    max_response: int = 1024
    engine: str = "auto"
    python: Path | None = None
    seed: int = 0

    @property
    def with_vllm(self) -> bool:
        """Whether vLLM answers."""
        here = self.python is not None or importlib.util.find_spec("vllm") is not None
        return self.engine == "vllm" or (self.engine == "auto" and here)


@dataclass(frozen=True)
class Asked:
    """The options of the command, by their names.

    drop_solved, drop_impossible: rows of pass rate 1 and 0; max_prompt: tokens; top: rows to keep.

    Raises:
        ConfigError: something is missing or does not go together.
    """

    source: str
    by: str
    out: Path
    model: str | None = None
    split: str = SPLIT
    config: str | None = None
    question_column: str | None = None
    answer_column: str | None = None
    difficulty_column: str = "difficulty"
    pass_rate_column: str | None = None
    system: str | None = None
    drop_solved: bool = False
    drop_impossible: bool = False
    max_prompt: int | None = None
    top: int | None = None
    grader: str = "maths"
    samples: int = 8
    temperature: float = 1.0
    max_response: int = 1024
    engine: str = "auto"
    vllm_python: Path | None = None
    seed: int = 0
    shards: int = 1
    shard: int | None = None

    def __post_init__(self) -> None:
        for name in ("source", "by", "out"):
            if getattr(self, name) is None:
                said = "a FILE" if name == "source" else f"--{name}"
                raise ConfigError(f"gainrl order needs {said} (or --preset)")
        if self.model is None and (why := self._why_a_model()):
            raise ConfigError(why)
        for name in ("top", "samples", "max_response", "shards", "max_prompt"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: at least 1")
        if self.shard is not None:
            if not 0 <= self.shard < self.shards:
                last = self.shards - 1
                raise ConfigError(
                    f"--shard {self.shard}: --shards is {self.shards}, so 0 to {last}"
                )
            if not self.measures:
                raise ConfigError(f"--shard: nothing is measured for --by {self.by}")
        if idle := self._idle():
            raise ConfigError(idle)

    @property
    def rated(self) -> bool:
        """Whether pass rates are needed."""
        return self.by == "pass-rate" or self.drop_solved or self.drop_impossible

    @property
    def measures_rates(self) -> bool:
        """Whether they are measured, and not read."""
        return self.rated and self.pass_rate_column is None

    @property
    def measures(self) -> bool:
        """Whether a model does, which takes a while."""
        return self.measures_rates or self.by in SIGNALS

    @property
    def store(self) -> Path:
        """The folder of what is measured, until the order is written."""
        return self.out.with_name(f"{self.out.name}.parts")

    @property
    def jobs(self) -> Shards:
        """Who measures what."""
        return Shards(self.shards, self.shard)

    @property
    def answering(self) -> Answering:
        """How pass rates are measured."""
        python = self.vllm_python
        return Answering(
            self.samples, self.temperature, self.max_response, self.engine, python, self.seed
        )

    def _why_a_model(self) -> str | None:
        """What needs a model, if anything does."""
        if self.by in SIGNALS:
            return f"--by {self.by} {NEEDS}"
        if self.measures_rates:
            return f"a pass rate {NEEDS}, or --pass-rate-column"
        return f"--max-prompt {NEEDS}" if self.max_prompt is not None else None

    def _idle(self) -> str | None:
        """An option that changes nothing here, and what it goes with."""
        measures = self.measures_rates
        uses = {
            "difficulty_column": (self.by == "difficulty-column", "--by difficulty-column"),
            "pass_rate_column": (
                self.rated,
                "--by pass-rate, --drop-solved and --drop-impossible",
            ),
            "seed": (
                measures or self.by == "shuffled",
                "--by shuffled and pass rates that a model measures",
            ),
            "shards": (self.measures, "what a model measures"),
            **dict.fromkeys(RATES, (measures, "pass rates that a model measures")),
        }
        if measures:
            uses["vllm_python"] = (self.engine != "transformers", "--engine vllm")
        for field in fields(self):
            used, what = uses.get(field.name, (True, ""))
            if not used and getattr(self, field.name) != field.default:
                return f"--{field.name.replace('_', '-')} goes with {what}"
        return None
