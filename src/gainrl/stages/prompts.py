"""Which prompts a model sees: those that fit. Of the training prompts decided once for every stage.

Scores, difficulties, features, orders, training and studies all read the table that this writes, so
N, ranks and verl's table agree. Worked solutions and held-out prompts are chosen where they are
read.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from transformers import AutoConfig

from gainrl import plan
from gainrl.data.prompts import Renderer
from gainrl.errors import DataError
from gainrl.models.loading import load_tokenizer
from gainrl.records import PROMPTS, atomic_write, write_json
from gainrl.stages.common import Context, prompt_room, renderer_for

BATCH = 512
"""Rows that are held at a time: a row of programs has their tests, which may be megabytes."""


def choose_prompts(context: Context, model: str, dataset: str) -> None:
    """Write the training prompts that fit a model, and beside them how many did not.

    A prompt fits if every rendering of it, with the data set's template and with those of the
    methods, has at most `training.max_prompt` tokens and leaves room for a response in the model's
    context. Where all fit, the table is a copy of the data set's, byte by byte.

    Raises:
        DataError: no prompt fits, or one does not and `overlong` is 'error'.
    """
    layout, folder = context.layout, context.layout.model(model)
    source, target = layout.split(dataset, "train"), layout.prompts(model, dataset)
    limits = plan.prompt_limits(context.preset, model, dataset)
    tokenizer, config = load_tokenizer(folder), AutoConfig.from_pretrained(folder)
    ruler = _ruler(context, model, dataset, tokenizer, config, limits)
    lengths: dict[str, int] = {}
    for batch in _batches(source, ["id", "question"]):
        ids, questions = (batch.column(name).to_pylist() for name in ("id", "question"))
        lengths.update(ruler.lengths(ids, questions))
    if not lengths:
        raise DataError(f"{source}: no training prompts (datasets.{dataset}.train is 0)")
    note = _note(context, model, dataset, source, lengths, ruler)
    _write(source, target, note["overlong"].keys())
    write_json(layout.prompts_note(model, dataset), note)


def fitting(
    context: Context,
    tokenizer: Any,
    model: str,
    dataset: str,
    source: Path,
    frame: pd.DataFrame,
    config: Any,
    limits: plan.PromptLimits,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of a prompt table that fit a model.

    Args:
        source: the table's file.
        config: transformers' configuration of the model, whose context is a limit too.

    Returns:
        The rows, and a note as `choose_prompts` writes it.

    Raises:
        DataError: as `choose_prompts`.
    """
    ruler = _ruler(context, model, dataset, tokenizer, config, limits)
    lengths = ruler.lengths(list(frame["id"]), list(frame["question"]))
    note = _note(context, model, dataset, source, lengths, ruler)
    return frame[~frame["id"].isin(note["overlong"])].reset_index(drop=True), note


def _note(
    context: Context,
    model: str,
    dataset: str,
    source: Path,
    lengths: Mapping[str, int],
    ruler: _Ruler,
) -> dict[str, Any]:
    """How many prompts fit and which do not; said, and refused where the preset wants that."""
    overlong = {name: length for name, length in lengths.items() if length > ruler.limit}
    longest = max(lengths, key=lambda name: lengths[name])
    found = (
        f"{len(overlong)} of {len(lengths)} prompts have more than {ruler.limit} tokens "
        f"({ruler.reason}); the longest, '{longest}', has {lengths[longest]}"
    )
    if len(overlong) == len(lengths):
        raise DataError(f"{source}: {found}: none is left for {model}")
    if overlong and context.preset.datasets[dataset].overlong == "error":
        raise DataError(
            f"{source}: {found}; raise training.max_prompt, or leave them out with "
            f"datasets.{dataset}.overlong: drop"
        )
    print(f"{model} on {dataset}: left out {found}" if overlong else f"all {len(lengths)} fit")
    return {
        "prompts": len(lengths),
        "kept": len(lengths) - len(overlong),
        "limit": ruler.limit,
        "reason": ruler.reason,
        "longest": lengths[longest],
        "overlong": overlong,
    }


@dataclass(frozen=True)
class _Ruler:
    """Measures prompts in every rendering; limit: the longest that fits, and its reason."""

    renderers: Sequence[Renderer]
    limit: float
    reason: str

    def lengths(self, ids: Sequence[str], questions: Sequence[str]) -> dict[str, int]:
        """By id the tokens of each prompt in its longest rendering."""
        found = []
        for renderer in self.renderers:
            tokens, _ = renderer.tokens(ids, questions, segments=False)
            found.append([len(row) for row in tokens])
        return dict(zip(ids, np.max(found, axis=0).tolist(), strict=True))


def _ruler(
    context: Context,
    model: str,
    dataset: str,
    tokenizer: Any,
    config: Any,
    limits: plan.PromptLimits,
) -> _Ruler:
    plain = replace(
        renderer_for(context.preset, tokenizer, model, dataset, config),
        max_length=None,
        context=None,
    )
    window = getattr(config.get_text_config(), "max_position_embeddings", None)
    room = prompt_room(window, limits.response)
    limit, reason = limits.prompt or math.inf, "training.max_prompt"
    if room is not None and room < limit:
        less = " less a response" if limits.response else ""
        limit, reason = room, f"the model's context of {window}{less}"
    own = [replace(plain, template=each) for each in limits.templates]
    return _Ruler([plain, *own], limit, reason)


def _batches(source: Path, columns: list[str] | None = None) -> Any:
    """Some rows at a time; a missing or foreign file is an error as in `read_table`."""
    try:
        with pq.ParquetFile(source) as file:
            yield from file.iter_batches(BATCH, columns=columns)
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such {PROMPTS.name}") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source}: not a readable Parquet file ({error})") from error


def _write(source: Path, target: Path, left_out: Any) -> None:
    """The table without some ids."""
    with atomic_write(target) as file:
        if not left_out:
            with source.open("rb") as whole:
                shutil.copyfileobj(whole, file)
            return
        names = pa.array(list(left_out))
        with pq.ParquetWriter(file, pq.read_schema(source)) as writer:
            for batch in _batches(source):
                kept = pyarrow.compute.invert(pyarrow.compute.is_in(batch.column("id"), names))
                writer.write_batch(batch.filter(kept))
