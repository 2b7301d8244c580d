"""The data sets known by name: where each split is and how its columns become ours.

Each is a file `entries/NAME.yaml`, an `Entry`; to add one is to add a file. Light imports: this
module is read while a Snakemake DAG is built. A split has a place on the Hugging Face hub, a file
name in a folder of local copies (GAINRL_DATA_DIR), or both; the two need not have the same columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from gainrl.config.base import GraderName
from gainrl.config.data import Dataset, Files, Generated, Hub, Mix, Registered
from gainrl.config.errors import explain
from gainrl.config.files import read_mapping
from gainrl.data.entry import Entry, Split
from gainrl.errors import ConfigError, nearest

FOLDER = Path(__file__).with_name("entries")


class Entries(Mapping[str, Entry]):
    """The files of a folder by name, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.files = {path.stem: path for path in sorted(folder.glob("*.yaml"))}

    def __getitem__(self, name: str) -> Entry:
        return _read(self.files[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@cache
def _read(path: Path) -> Entry:
    """An entry's file.

    Raises:
        ConfigError: it is no such file; the message has the key.
    """
    data = read_mapping(path)
    for split in ("train", "eval"):
        data[split] = _resolved(data.get(split), split, path.parent)
    try:
        return Entry(name=path.stem, **data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, Entry)}") from error


def _resolved(given: Any, split: str, folder: Path) -> Any:
    """A split with what it takes over from that of the entry that its key `like` names."""
    if not isinstance(given, dict) or "like" not in given:
        return given
    own = {key: value for key, value in given.items() if key != "like"}
    return {**read_mapping(folder / f"{given['like']}.yaml")[split], **own}


REGISTRY: Mapping[str, Entry] = Entries(FOLDER)
"""Every known data set by name."""


def find(name: str) -> Entry:
    """Return a known data set.

    Raises:
        ConfigError: no such name; the message has the nearest known one.
    """
    if name not in REGISTRY:
        raise ConfigError(f"unknown data set '{name}' in the registry{nearest(name, REGISTRY)}")
    return REGISTRY[name]


def known_rows(spec: Dataset, split: Literal["train", "eval"]) -> int | None:
    """How many prompts a split of a data set will have, or None before it has been read.

    A count in the preset is exact: a source with fewer rows is refused. A mix is the sum of its
    parts, which only the preset knows (plan.known_rows).
    """
    if isinstance(spec, Mix):
        return None
    if isinstance(spec, Files) and getattr(spec, f"{split}_file") is None:
        return 0
    if isinstance(spec, Hub) and getattr(spec, f"{split}_split") is None:
        return 0
    wanted: int | None = getattr(spec, split)
    if wanted is not None or not isinstance(spec, Registered):
        return wanted
    found: Split | None = getattr(find(spec.name), split)
    if found is None:
        return 0
    return found.rows - found.unanswered - (spec.warmup if split == "train" else 0)


def difficulty_range(spec: Registered | Files | Hub) -> tuple[float, float] | None:
    """Ends of the scale of a data set's own difficulties, None if its train split has none."""
    if not isinstance(spec, Registered):
        own = spec.fields.difficulty
    elif (split := find(spec.name).train) is None:
        return None
    elif spec.difficulty == "published":
        own = split.published.difficulty if split.published else None
    else:
        columns = split.columns if split.local_columns is None else split.local_columns
        own = columns.fields.difficulty or split.columns.fields.difficulty
    return own.range if own else None


def grader_of(spec: Dataset) -> GraderName:
    """Who grades the answers of a data set: what the preset says, else what its source says.

    A registered data set has its entry's grader, our task `code` "code", everything else "maths".

    Raises:
        ConfigError: a data set that is not in the registry.
    """
    if spec.grader is not None:
        return spec.grader
    if isinstance(spec, Registered):
        return find(spec.name).grader
    return "code" if isinstance(spec, Generated) and spec.task == "code" else "maths"
