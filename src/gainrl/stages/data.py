"""Data sets: read or generated, and written as prompt tables. No torch."""

from __future__ import annotations

from contextlib import nullcontext

import pandas as pd

from gainrl import plan
from gainrl.config.data import Dataset, Files, Hub, Mix, Registered
from gainrl.data.registry import grader_of
from gainrl.data.sources import Splits, load_splits
from gainrl.data.spool import Spool
from gainrl.records import PROMPTS, write_table
from gainrl.stages.common import Context

SPLITS = ("train", "eval", "warmup")


def prepare_data(context: Context, dataset: str) -> None:
    """Write a data set's train, eval and warm-up tables.

    Where answers are programs' tests, they go from the source to the tables by way of the disk.
    """
    folder = context.layout.split(dataset, "train").parent
    with Spool(folder) if _reads_programs(context, dataset) else nullcontext() as spool:
        splits = _splits(context, dataset, spool)
        for split in SPLITS:
            write_table(
                context.layout.split(dataset, split),
                splits[split],
                PROMPTS,
                {"dataset": plan.dataset_slice(context.preset, dataset), "split": split},
                {"answer": spool.get} if spool else None,
            )
            print(f"{dataset}/{split}: {len(splits[split])} prompts", flush=True)


def _reads_programs(context: Context, dataset: str) -> bool:
    """Whether all of a data set is programs that are read, and not generated."""
    spec = context.preset.datasets[dataset]
    parts: list[Dataset] = [spec]
    if isinstance(spec, Mix):
        parts = [context.preset.datasets[name] for name in spec.parts]
    return all(
        isinstance(part, Registered | Files | Hub) and grader_of(part) == "code" for part in parts
    )


def _splits(context: Context, dataset: str, spool: Spool | None) -> Splits:
    spec = context.preset.datasets[dataset]
    if not isinstance(spec, Mix):
        return load_splits(spec, data_dir=plan.data_dir(), name=dataset, spool=spool)
    parts = [_splits(context, name, spool) for name in spec.parts]
    whole = {}
    for split in SPLITS:
        filled = [part[split] for part in parts if len(part[split])]
        whole[split] = pd.concat(filled, ignore_index=True) if filled else parts[0][split]
    return whole
