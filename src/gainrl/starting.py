"""`gainrl init`: a preset that compares ten methods on a user's model and data in so many hours.

What a step takes is measured, by two of them with the real trainer on this machine.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gainrl import plan
from gainrl.config.models import Model
from gainrl.config.preset import Preset
from gainrl.data.cells import lookup, names_of
from gainrl.data.reading import read_files
from gainrl.data.registry import REGISTRY
from gainrl.errors import ConfigError, DataError, nearest
from gainrl.models.shapes import architecture
from gainrl.ordering.columns import ANSWERS, QUESTIONS
from gainrl.records import read_lines, write_text
from gainrl.tracking.names import URI

BASE = "experiments/compare.yaml"
TABLE = "table1"
MINE = "mine"
RATES = ((10e6, 1e-4), (300e6, 1e-5), (1e9, 5e-6), (math.inf, 1e-6))
"""Learning rates by parameters: the paper's 1e-6 from 1B on; below, what our own runs took."""
LARGE = 1.5e9
"""Parameters from which a run is verl's."""
EVAL = 200
"""Problems of a test."""
TESTS = 10
"""Of a run."""
FEWEST = 10
"""Steps, below which a curve says nothing."""
REDRAWN = 1.3
"""Seconds of a mean method over those of GRPO: some draw again, or measure first."""


@dataclass(frozen=True)
class Pilot:
    """Seconds that were measured: of a step after the first, and of a test."""

    step: float
    test: float

    def hours(self, runs: int, steps: int, jobs: int) -> float:
        """Of so many runs, so many of them at a time."""
        return runs * (REDRAWN * steps * self.step + (TESTS + 1) * self.test) / jobs / 3600

    def steps(self, runs: int, hours: float, jobs: int) -> int:
        """The most that a run may have."""
        run = 3600 * hours * jobs / runs - (TESTS + 1) * self.test
        return int(run / (REDRAWN * self.step))


def init(
    model: str,
    data: str,
    test: str | None,
    hours: float,
    seeds: int,
    methods: Sequence[str] | None,
    answer_after: str | None,
    out: Path,
) -> None:
    """Write a preset, and say what it will take.

    Args:
        model: a folder, or an id of the hub. data, test: files, or the name of a registered data
            set, whose test split is its own.
        hours: that all runs may take together on this machine.

    Raises:
        ConfigError: the file is there already, the folder is not the clone's root, an option has a
            value that it cannot have, or the hours are too few.
        DataError, ModelError: model or data cannot be used.
    """
    if out.exists():
        raise ConfigError(f"{out}: is there already; name another file with --out")
    _check(hours, seeds, methods)
    spec = _model(model)
    wanted: dict[str, Any] = {
        "extends": BASE,
        "preset": out.stem,
        "seeds": list(range(seeds)),
        "models": {MINE: spec},
        "datasets": {MINE: _data(data, test, answer_after)},
        "training": _training(spec),
    }
    if methods:
        wanted["experiments"] = {TABLE: {"methods": list(methods)}}
    preset = plan.load(wanted, str(out))
    runs = len(plan.runs(preset))
    if wanted["training"].get("backend") == "verl":
        _write(
            out,
            wanted,
            [f"{runs} runs on verl; `snakemake plan --configfile {out}` says GPU-hours."],
        )
        return
    pilot, jobs = _pilot(wanted), _jobs(preset)
    steps = pilot.steps(runs, hours, jobs)
    measured = f"a step takes {pilot.step:.2g} s here, a test {pilot.test:.2g} s"
    if steps < FEWEST:
        least = pilot.hours(runs, FEWEST, jobs)
        raise ConfigError(
            f"--hours {hours:g}: {runs} runs get {max(steps, 0)} steps each ({measured}); "
            f"{FEWEST} take {least:.1f} hours; give more, or fewer --methods or --seeds"
        )
    every = max(1, steps // TESTS)
    wanted["training"] |= {"steps": steps, "save_every": max(1, steps // 4)}
    wanted["evaluation"] = {"every": every}
    wanted["curricula"] = {"gain": {"step": float(f"{2.56 / steps:.2g}")}}
    hours = pilot.hours(runs, steps, jobs)
    said = [
        f"{runs} runs of {steps} steps, {jobs} at a time: about {hours:.1f} hours ({measured}).",
        f"Begin with: make run PRESET={out}",
    ]
    _write(out, wanted, said)


def _write(out: Path, wanted: dict[str, Any], said: Sequence[str]) -> None:
    head = "".join(f"# {line}\n" for line in ("Written by gainrl init.", *said))
    body = yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True, default_flow_style=None)
    plan.load(wanted, str(out))
    write_text(out, f"{head}{body}")
    print(f"{out}: {' '.join(said)}")


def _check(hours: float, seeds: int, methods: Sequence[str] | None) -> None:
    """Refuse what no preset can be made of, before anything is measured."""
    if not Path(BASE).is_file():
        raise ConfigError(
            f"gainrl init: there is no {BASE} in {Path.cwd()}: call it in the root of the clone"
        )
    if not 0 < hours < math.inf:
        raise ConfigError(f"--hours {hours:g}: must be a number above 0")
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: must be at least 1")
    base = plan.load(BASE)
    for name in methods or ():
        if name not in base.methods:
            raise ConfigError(f"--methods {name}: no such method{nearest(name, base.methods)}")
    baseline = base.experiments[TABLE].baseline
    if methods and baseline not in methods:
        raise ConfigError(f"--methods: add {baseline}, which the others are compared with")
    if methods and len(set(methods)) < max(2, len(methods)):
        raise ConfigError(f"--methods: name others beside {baseline}, and each once")


# --- what the user has ---------------------------------------------------------------------------


def _model(model: str) -> dict[str, Any]:
    if Path(model).is_dir():
        return {"source": "local", "path": str(Path(model).resolve())}
    if model.count("/") == 1:
        return {"source": "hub", "id": model}
    raise ConfigError(f"--model {model}: neither a folder nor an id of the hub, OWNER/NAME")


def _data(data: str, test: str | None, answer_after: str | None) -> dict[str, Any]:
    if data in REGISTRY:
        if test is not None:
            raise ConfigError(f"--test: '{data}' has a test split of its own")
        return {"source": "registry", "name": data, "eval": EVAL}
    if not Path(data).is_file():
        raise ConfigError(
            f"--data {data}: no such file, and no registered data set: {', '.join(REGISTRY)}"
        )
    if test is None:
        raise ConfigError("--test: name a file of held-out problems beside --data")
    fields = {
        "question": _column(Path(data), QUESTIONS, "question"),
        "answer": _column(Path(data), ANSWERS, "answer"),
        **({"answer_after": answer_after} if answer_after else {}),
    }
    held_out = sum(1 for _ in read_files([Path(test)]))
    return {
        "source": "file",
        "train_file": str(Path(data).resolve()),
        "eval_file": str(Path(test).resolve()),
        "fields": fields,
        **({"eval": EVAL} if held_out > EVAL else {}),
    }


def _column(path: Path, tried: Sequence[str], what: str) -> str:
    """The first of some columns that a file's first record has."""
    place, record = next(iter(read_files([path])), (str(path), None))
    if not isinstance(record, dict):
        raise DataError(f"{place}: no record of columns")
    for name in tried:
        if isinstance(lookup(record, name), str | int | float):
            return name
    raise DataError(
        f"{place}: none of the columns {', '.join(tried)} holds the {what}; rename one, or write "
        f"datasets.{MINE}.fields yourself (it has {', '.join(names_of(record))})"
    )


def _training(spec: dict[str, Any]) -> dict[str, Any]:
    """By the model's size and context."""
    from pydantic import TypeAdapter

    shape = architecture(TypeAdapter(Model).validate_python(spec), MINE)
    lr = next(rate for bound, rate in RATES if shape.parameters < bound)
    found: dict[str, Any] = {"lr": lr}
    if shape.parameters >= LARGE:
        return {
            **found,
            "backend": "verl",
            "prompts": 128,
            "max_prompt": 1024,
            "max_response": 2048,
        }
    if spec["source"] == "local":
        found |= _lengths(Path(spec["path"]))
    return found


def _lengths(folder: Path) -> dict[str, Any]:
    """Shorter prompts and responses where the model's context asks for it."""
    from transformers import AutoConfig

    window = getattr(AutoConfig.from_pretrained(folder), "max_position_embeddings", None)
    if window is None or window >= 768:
        return {}
    return {"max_prompt": window * 2 // 3, "max_response": window // 3, "row_tokens": window}


# --- the pilot -----------------------------------------------------------------------------------


def _jobs(preset: Preset) -> int:
    """Runs at a time: on a GPU one, else as many as there are cores for."""
    from gainrl.models.loading import device

    if device().type != "cpu":
        return 1
    return max(1, len(os.sched_getaffinity(0)) // preset.threads)


def _pilot(wanted: dict[str, Any]) -> Pilot:
    """Two steps of GRPO and a test, by the pipeline's own stages."""
    from gainrl.stages.common import Context
    from gainrl.stages.data import prepare_data
    from gainrl.stages.evaluate import evaluate_start
    from gainrl.stages.prepare import build_model
    from gainrl.stages.prompts import choose_prompts
    from gainrl.stages.runs import train
    from gainrl.stages.tracking import initialise_tracking
    from gainrl.training import files

    small = {
        **wanted,
        "training": {**wanted["training"], "steps": 2, "save_every": 2},
        "evaluation": {"every": 2},
        "experiments": {TABLE: {"methods": ["grpo"], "speed": None}},
        "seeds": [0],
    }
    preset: Preset = plan.load(small)
    (key,) = plan.runs(preset)
    server = os.environ.pop(URI, None)  # nobody's store is to have a pilot
    with tempfile.TemporaryDirectory() as place, open(os.devnull, "w") as nowhere:
        context = Context(preset, Path(place))
        try:
            with redirect_stdout(nowhere):
                initialise_tracking(context)
                prepare_data(context, MINE)
                build_model(context, MINE)
                choose_prompts(context, MINE, MINE)
                began = time.perf_counter()
                evaluate_start(context, MINE, MINE)
                test = time.perf_counter() - began
                train(context, [key])
        finally:
            if server is not None:
                os.environ[URI] = server
        timed = read_lines(context.layout.run(key) / files.TIMING)
    if not timed:
        raise DataError("the pilot left no times")
    return Pilot(timed[-1]["seconds_step"], test)
