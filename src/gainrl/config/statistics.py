"""The preset's `statistics`: how tables and figures summarise seeds. No torch."""

from __future__ import annotations

from typing import Annotated

from gainrl.config.base import Absent, Positive, Rate, Section


class Statistics(Section):
    """How the tables summarise seeds; fixed before the runs."""

    resamples: Positive = 10_000
    """Of every bootstrap: correlations over prompts, and the error of what is said of all tasks."""
    confidence: Rate = 0.95
    """Of every interval."""
    smoothing: Positive = 3
    """Last tests whose mean is the final accuracy, the start model's not among them; length of the
    trailing means in figures."""
    seed: int = 0
    """Of the resampling."""
    false_discovery: Annotated[Rate, Absent()] = 0.05
    """Of the verdicts and differences of one table that are called real, the share that may be
    chance (Benjamini and Hochberg 1995)."""
