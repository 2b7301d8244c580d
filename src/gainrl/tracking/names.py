"""Where the tracking store is, and the names it takes for what is called by one it may refuse."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

URI = "MLFLOW_TRACKING_URI"
LONGEST = 250
"""Characters of a metric's, a parameter's or a tag's name."""
_SPELT = {"@": "_at_", "+": "_plus_"}
_REFUSED = re.compile(r"[^A-Za-z0-9_. :/-]")


def store_uri(configured: str | None, root: Path) -> str:
    """The environment's store, else the preset's, else SQLite below `root`."""
    local = f"sqlite:///{(root / 'mlflow.db').resolve()}"
    return os.environ.get(URI) or configured or local


def of_test(benchmark: str) -> str:
    """What the names of a test's metrics begin with."""
    return f"eval/{benchmark}/"


def legal_name(name: str) -> str:
    """The name of a metric, parameter or tag as MLflow takes it: 'pass@8' is 'pass_at_8'.

    Letters, digits and `_ . : / -` and spaces stay; what reads as a path must be one that cannot be
    written more shortly. Names that would become alike end in a hash of what they were.
    """
    for refused, spelt in _SPELT.items():
        name = name.replace(refused, spelt)
    parts = _REFUSED.sub("_", name).split("/")
    plain = "/".join("_" * max(len(part), 1) if part in ("", ".", "..") else part for part in parts)
    if plain == name and len(plain) <= LONGEST:
        return plain
    mark = f"-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    return plain[: LONGEST - len(mark)] + mark
