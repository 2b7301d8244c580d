"""Data sets: read or generated, and written as prompt tables. No torch."""

from __future__ import annotations

import pandas as pd

from gainrl import plan
from gainrl.config.data import Mix
from gainrl.data.sources import Splits, load_splits
from gainrl.records import PROMPTS, write_table
from gainrl.stages.common import Context

SPLITS = ("train", "eval", "warmup")


def prepare_data(context: Context, dataset: str) -> None:
    """Write a data set's train, eval and warm-up tables."""
    splits = _splits(context, dataset)
    for split in SPLITS:
        write_table(
            context.layout.split(dataset, split),
            splits[split],
            PROMPTS,
            {"dataset": plan.dataset_slice(context.preset, dataset), "split": split},
        )
        print(f"{dataset}/{split}: {len(splits[split])} prompts", flush=True)


def _splits(context: Context, dataset: str) -> Splits:
    spec = context.preset.datasets[dataset]
    if not isinstance(spec, Mix):
        return load_splits(spec, data_dir=plan.data_dir(), name=dataset)
    parts = [_splits(context, name) for name in spec.parts]
    whole = {}
    for split in SPLITS:
        filled = [part[split] for part in parts if len(part[split])]
        whole[split] = pd.concat(filled, ignore_index=True) if filled else parts[0][split]
    return whole
