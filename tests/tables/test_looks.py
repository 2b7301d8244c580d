"""A method looks the same in every figure; the histograms of selections."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from run_folders import write_run

from gainrl.compare.style import LOOKS, looks_of
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.results.runs import collect
from gainrl.tables.curves import figure7
from gainrl.tables.selection_figure import Selected, figure_selection

METHODS = [*LOOKS, *(f"method{k}" for k in range(24))]


def test_twenty_five_methods_look_different():
    looks = looks_of(METHODS)
    assert len({(look.color, str(look.dashes), look.marker) for look in looks.values()}) == 30


def test_five_methods_in_a_row_have_five_colours():
    looks = looks_of(METHODS)
    for start in range(20):
        names = [f"method{k}" for k in range(start, start + 5)]
        assert len({looks[name].color for name in names}) == 5


def test_known_methods_keep_their_look():
    assert {name: looks_of(METHODS)[name] for name in LOOKS} == LOOKS


def test_chosen_prompts_are_drawn_among_all(tmp_path):
    everything = np.linspace(0, 1, 100)
    panels = [
        Selected("high", "gain", everything, everything[50:]),
        Selected("low", "method0", everything, everything[:50]),
    ]
    paths = tmp_path / "chosen.png", tmp_path / "chosen.pdf"
    figure = figure_selection(panels, looks_of(METHODS), *paths)
    for axis, low, high in zip(figure.axes, (0.5, 0.0), (1.0, 0.5), strict=True):
        heights = [(bar.get_x(), bar.get_height()) for bar in axis.patches]
        every, chosen = heights[: len(heights) // 2], heights[len(heights) // 2 :]
        assert sum(height for _, height in every) == 100
        assert sum(height for _, height in chosen) == 50
        assert all(low - 0.05 <= x <= high for x, height in chosen if height)
    assert matplotlib.image.imread(paths[0]).std() > 0
    first = [path.read_bytes() for path in paths]
    figure_selection(panels, looks_of(METHODS), *paths)
    assert [path.read_bytes() for path in paths] == first


def test_no_selections_are_refused(tmp_path):
    with pytest.raises(DataError, match="no selections"):
        figure_selection([], {}, tmp_path / "a.png", tmp_path / "a.pdf")


@pytest.mark.filterwarnings("error")  # matplotlib warns where nothing is left for a panel
def test_many_methods_do_not_squash_the_curves(tmp_path):
    """Ten methods with long names make a legend of many rows below a single panel."""
    names = ["grpo", *(f"a method with a long name, {k}" for k in range(9))]
    folders = [write_run(tmp_path, name, 0, [0.2, 0.3, 0.5], label=name) for name in names]
    paths = tmp_path / "curves.png", tmp_path / "curves.pdf"
    figure = figure7(collect(folders), Statistics(resamples=10, smoothing=1), *paths)
    figure.canvas.draw()
    assert figure.axes[0].get_window_extent().height / figure.dpi > 1.5  # inches
