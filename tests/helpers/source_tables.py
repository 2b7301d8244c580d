"""Data sets for tests: writing them in the formats of their sources, and loading them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from gainrl.data.sources import load_splits
from gainrl.records import PROMPTS, check_table


def write(path: Path, rows: list) -> str:
    """Write records in the format that the file's name asks for."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        pd.DataFrame(rows).to_parquet(path)
    return str(path)


def load(spec, name: str = "mine", data_dir: Path | None = None) -> dict[str, pd.DataFrame]:
    splits = load_splits(spec, data_dir=data_dir, name=name)
    assert set(splits) == {"train", "eval", "warmup"}
    for frame in splits.values():
        check_table(frame, PROMPTS, name)
    return splits
