"""Whether what a preset names fits together: data, models, batches, policies. In seconds.

Only what lies on this machine is opened; of everything else a line says that it was not looked at.
Whether it can be had from the hub is the doctor's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from gainrl import plan
from gainrl.config.data import Files, Generated, Gym, Hub, Mix, Registered
from gainrl.config.models import HubModel, LocalModel, PackagedGguf
from gainrl.config.preset import Preset
from gainrl.curricula.contract import CHECKS, check_reads, failure
from gainrl.data.entry import HubTable
from gainrl.data.registry import find, grader_of
from gainrl.doctor.check import Check, failed, ok, unseen, warning
from gainrl.doctor.sources import Wanted, cached_model, used
from gainrl.errors import ConfigError, GradingError, UserError
from gainrl.tables.cells import paper_rows

if TYPE_CHECKING:
    import pandas as pd

Tables = Mapping[str, Mapping[str, "pd.DataFrame"]]
"""Splits of the data sets that could be read, by name."""


@dataclass(frozen=True)
class _Read:
    """Data sets that were read, and how many training prompts any data set has."""

    tables: dict[str, dict[str, pd.DataFrame]]
    sizes: dict[str, int]


def check_contents(preset: Preset, root: Path) -> Iterator[Check]:
    """A line for each data set, model, batch and policy, also for what cannot be looked at."""
    read, asked = _Read({}, {}), used(preset)
    for name in asked:
        yield from _data(preset, name, read)
    for name, data in preset.datasets.items():
        if name not in asked and isinstance(data, Files | Hub):
            yield unseen(f"datasets.{name}", "no experiment, benchmark or study goes by it")
    for model, spec in preset.models.items():
        if isinstance(spec, LocalModel):
            yield from _model(preset, root, model, Path(spec.path), read.tables)
        elif isinstance(spec, HubModel):
            hub = Wanted(f"models.{model}", "model", spec.id, spec.revision)
            if folder := cached_model(hub):
                yield from _model(preset, root, model, folder, read.tables)
            else:
                yield unseen(hub.name, f"{spec.id}, not on this machine")
        elif isinstance(spec, PackagedGguf):
            yield unseen(f"models.{model}", "a GGUF file in a wheel, which is opened in the run")
    if not plan.runs(preset):
        yield unseen("experiments", "the preset has none, so nothing is trained")
    yield from _batches(preset, read.sizes)
    yield from _policies(preset)
    yield from _tried(preset)
    yield from check_published(preset)


# --- data ----------------------------------------------------------------------------------------


def _data(preset: Preset, name: str, read: _Read) -> Iterator[Check]:
    spec, key = preset.datasets[name], f"datasets.{name}"
    if isinstance(spec, Generated | Gym):
        read.sizes[name] = spec.train
    if isinstance(spec, Gym):
        yield unseen(key, f"reasoning-gym makes its problems of '{spec.task}' in the run")
    elif isinstance(spec, Hub | Registered) and not _is_here(spec):
        what = spec.id if isinstance(spec, Hub) else spec.name
        yield unseen(key, f"{what}, of which {plan.DATA_DIR} has no copy")
    elif isinstance(spec, Generated) and ":" not in grader_of(spec):
        return
    elif not isinstance(spec, Mix):
        yield from _opened(spec, name, key, read)


def _opened(
    spec: Generated | Files | Hub | Registered, name: str, key: str, read: _Read
) -> Iterator[Check]:
    """What can be said of a data set that is on this machine."""
    from gainrl.data.sources import examined, load_splits  # pandas: not for generated data alone

    try:
        splits = load_splits(spec, data_dir=plan.data_dir(), name=name, warn=False)
    except UserError as error:
        yield failed(key, str(error), "")
        return
    first = [answer for split in splits.values() for answer in split["answer"][:1]]
    if ":" in grader_of(spec) and first:
        yield _own_grader(f"{key}.grader", grader_of(spec), first[0])
    if isinstance(spec, Generated):
        return
    read.tables[name], read.sizes[name] = splits, len(splits["train"])
    counts = ", ".join(f"{len(splits[split]):,} {split}" for split in splits if len(splits[split]))
    found = examined(spec, splits)
    golds = f"; {found.read}" if found.golds else ""
    yield ok(key, f"{counts}{golds}")
    for line in found.warnings():
        yield warning(key, line, "")


def _own_grader(key: str, path: str, gold: str) -> Check:
    """What a grader of the user's own says of a gold answer itself, and of an empty completion."""
    from gainrl.grading.graders import find as grader

    try:
        itself, empty = grader(path)([gold, ""], [gold, gold])
    except GradingError as error:
        return failed(key, str(error), "docs/evaluation.md says what it is given and returns")
    if empty.correct:
        return warning(
            key, "an empty completion is right to it", "see that it reads the completion"
        )
    if not itself.correct:
        saw = f"the gold answer {_short(gold)} is wrong to it where it is the whole completion"
        return warning(key, saw, "nothing to do if it asks for a format; else it is always wrong")
    return ok(key, "a gold answer itself is right to it, an empty completion wrong")


def _short(text: str) -> str:
    """A text for a line."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _is_here(spec: Hub | Registered) -> bool:
    """Whether reading it needs no network."""
    folder = plan.data_dir()
    if folder is None:
        return False
    if isinstance(spec, Registered):
        entry = find(spec.name)
        wanted = [entry.train if spec.train != 0 or spec.warmup else None, entry.eval]
        names = [split.local or (split.hub and split.hub.copy_names) for split in wanted if split]
        files = [((name,) if isinstance(name, str) else name or ()) for name in names]
        return all(each and all((folder / name).is_file() for name in each) for each in files)
    tables = [
        HubTable(id=spec.id, split=split, config=spec.config, revision=spec.revision)
        for split in (spec.train_split, spec.eval_split)
        if split
    ]
    return all((folder / table.copy_name).is_file() for table in tables)


# --- models --------------------------------------------------------------------------------------


def _model(preset: Preset, root: Path, model: str, folder: Path, tables: Tables) -> Iterator[Check]:
    """Its files, its tokenizer and its template, on every data set that could be read."""
    key = f"models.{model}"
    from transformers import AutoConfig

    from gainrl.data.quality import some
    from gainrl.models.checkpoints import check_files, check_plain
    from gainrl.models.loading import load_tokenizer
    from gainrl.stages.common import Context
    from gainrl.stages.prompts import fitting

    try:
        tokenizer, config = load_tokenizer(folder), AutoConfig.from_pretrained(folder)
        check_plain(folder)
        files = check_files(folder)
    except (UserError, OSError, ValueError) as error:
        line = " ".join(str(error).split())
        yield failed(key, line, "" if str(folder) in line else f"see {folder}")
        return
    saw = f"{folder}: {len(tokenizer):,} tokens, context {_window(config)}"
    yield ok(key, f"{saw}, weights in {files} whole files" if files > 1 else saw)
    context = Context(preset, root)
    for name in plan.datasets_of(preset, model):
        frame = tables.get(name, {}).get("train")
        if frame is None or not len(frame):
            continue
        where, limits = f"{key} on {name}", plan.prompt_limits(preset, model, name)
        try:
            with redirect_stdout(StringIO()):  # the stage prints the same
                _, note = fitting(
                    context, tokenizer, model, name, Path(name), frame, config, limits
                )
        except UserError as error:
            yield failed(where, str(error), "")
            continue
        saw = f"{note['kept']:,} of {note['prompts']:,} training prompts have at most "
        saw += f"{note['limit']:,} tokens ({note['reason']}); the longest has {note['longest']:,}"
        over = [*note["overlong"]]
        if not over:
            yield ok(where, saw)
            continue
        do = "raise training.max_prompt to keep them"
        yield warning(where, f"{saw}; left out: {some(over)}", do)


def _window(config: object) -> str:
    window = getattr(config, "max_position_embeddings", None)
    return f"{window:,}" if window else "unknown"


# --- batches and policies ------------------------------------------------------------------------


def _batches(preset: Preset, sizes: dict[str, int]) -> Iterator[Check]:
    """Steps ask for no more prompts than there are."""
    for name, spec in preset.datasets.items():
        if isinstance(spec, Mix) and all(part in sizes for part in spec.parts):
            sizes[name] = sum(sizes[part] for part in spec.parts)
    wrong: dict[str, str] = {}
    seen = 0
    for run in plan.runs(preset):
        if run.dataset not in sizes:
            continue
        asked = preset.training_for(run.dataset, run.model, run.method).prompts
        seen += 1
        if asked > sizes[run.dataset]:
            wrong[f"methods.{run.method} on {run.dataset}"] = (
                f"a step of {asked} prompts, and there are {sizes[run.dataset]}"
            )
    for where, saw in wrong.items():
        yield failed(where, saw, "lower training.prompts, or give more data")
    if seen and not wrong:
        yield ok("batches", "every step asks for no more prompts than there are")


def _policies(preset: Preset) -> Iterator[Check]:
    """The contract of policies that are a user's own, by import path."""
    methods = dict.fromkeys(run.method for run in plan.runs(preset))
    for method in methods:
        policy = plan.policy_of(preset.methods[method])
        parts = (policy.sampler, policy.filter, policy.allocation)
        if all(type(part).__module__.startswith("gainrl.") for part in parts):
            continue
        asked = preset.methods[method].curriculum.model_dump()
        for check in CHECKS:
            if line := failure(check, asked):
                do = "`gainrl check-curriculum` has all that is wrong"
                yield failed(f"methods.{method}.curriculum", line[:300], do)
                break
        else:
            yield ok(f"methods.{method}.curriculum", f"keeps its contract ({len(CHECKS)} checks)")


def _tried(preset: Preset) -> Iterator[Check]:
    """Methods whose policy decides itself how many rollouts there are, whatever a try says."""
    tuning = preset.tuning
    values = tuning.grid.given.get("rollouts", ()) if tuning else ()
    if tuning is None or len(values) < 2:
        return
    for method in tuning.methods:
        asked = preset.methods[method].curriculum.model_dump()
        settings = [{"rollouts": value} for value in values]
        if line := failure(lambda spec, tried=settings: check_reads(spec, tried), asked):
            do = "its other keys are what is tuned"
            yield warning(f"tuning.grid.rollouts, {method}", line, do)


def check_published(preset: Preset) -> Iterator[Check]:
    """A line for each table that would fail after all runs: the paper has none of its cells."""
    for name, experiment in preset.experiments.items():
        if experiment.published is None:
            continue
        try:
            paper_rows(preset, name)
        except ConfigError as error:
            where, _, saw = str(error).partition(": ")
            yield failed(where, saw, "docs/paper.md has its names; or `published: null`")
