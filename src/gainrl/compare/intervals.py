"""How figures draw intervals of differences and of ratios, open ones too."""

from __future__ import annotations

import math
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from gainrl.compare.style import Look

MOST = 16.0
"""The largest ratio that an axis shows, and one over the least; what lies beyond is an arrow."""


class Row(Protocol):
    """What gives numbers by name, such as a mapping or a row of a data frame."""

    def __getitem__(self, name: str, /) -> Any:
        """The number of a name."""


def even_line(axis: Axes, at: float) -> None:
    """Mark where a method does as well as the baseline; what lies beside it is read across."""
    axis.axvline(at, color="#999999", linewidth=0.8)
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x")


def bar(
    axis: Axes,
    y: float,
    row: Row,
    look: Look,
    scale: float = 1.0,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw a row's interval at height y, its value if it has one, and arrows where it goes on.

    Nothing is drawn of an interval that goes on at both ends: it says nothing.

    Args:
        row: has low, mean and high; without low nothing of the interval is known.
        scale: what they are multiplied by.
        limits: of the axis; what lies beyond is an arrow.
    """
    low, value, high = (scale * float(row[name]) for name in ("low", "mean", "high"))
    least, most = limits or (-math.inf, math.inf)
    known = not math.isnan(value)
    if not math.isnan(low) and (known or low >= least or high <= most):
        ends = [min(max(end, least), most) for end in (low, high)]
        axis.plot(ends, [y, y], color=look.color, linewidth=1.2, solid_capstyle="butt")
        for beyond, end, arrow in ((low < least, least, "<"), (high > most, most, ">")):
            if beyond:
                axis.plot([end], [y], marker=arrow, color=look.color, markersize=4, clip_on=False)
    if known and least <= value <= most:
        axis.plot([value], [y], marker=look.marker, color=look.color, markersize=4.4,
                  markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip


def ratio_axis(axis: Axes, most: float, ticks: int = 9) -> None:
    """A logarithmic axis from 1 / most to most, a power of two, with about `ticks` ticks."""
    powers = round(math.log2(most))
    apart = max(1, math.ceil(2 * powers / (ticks - 1)))
    at = [2.0**power for power in range(-powers // apart * apart, powers + 1, apart)]
    at = [tick for tick in at if 1 / most <= tick <= most]
    axis.set_xscale("log")
    axis.set_xlim(1 / most, most)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xticks(at, [f"{tick:g}×" if tick >= 1 else f"1/{1 / tick:g}" for tick in at])
    # What stands at a limit must not run into the next panel's.
    for tick, label in zip(at, axis.get_xticklabels(), strict=True):
        if tick == most:
            label.set_horizontalalignment("right")
        elif tick == 1 / most:
            label.set_horizontalalignment("left")
