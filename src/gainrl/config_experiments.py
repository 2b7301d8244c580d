"""Sections of a preset that say what the table of an experiment shows. No torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from gainrl.config_data import Name, Section
from gainrl.errors import nearest

Column = Literal[
    "final",
    "difference",
    "steps",
    "speedup",
    "speedup_tokens",
    "speedup_seconds",
    "speedup_flops",
    "equal_tokens",
    "equal_seconds",
    "equal_flops",
    "tokens",
    "flops",
    "seconds",
    "preparation",
    "zero_variance",
    "overhead",
    "paper",
]
"""A column of an experiment's table; `final` and `paper` are one for each benchmark."""


class Published(Section):
    """Which printed numbers of the paper stand beside ours.

    table: its number there. models, methods, benchmarks: from our names to the paper's; a name that
    is left out is its own (of a model: the last part of its hub id; of a benchmark: its name in the
    registry). The paper's names are those of gainrl/analysis/published.csv.
    """

    table: Literal[1, 2, 3, 4, 5]
    models: dict[Name, str] = Field(default_factory=dict)
    benchmarks: dict[Name, str] = Field(default_factory=dict)
    methods: dict[Name, str] = Field(default_factory=dict)

    def check(self, **known: Collection[str]) -> None:
        """Refuse mapped names that the experiment lacks (ValueError); `known` by field."""
        for field, names in known.items():
            for name in getattr(self, field):
                if name not in names:
                    raise ValueError(
                        f"published.{field}: the experiment has no '{name}'{nearest(name, names)}"
                    )
