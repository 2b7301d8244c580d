"""The figure of a comparison: which panels it has and what is drawn in them."""

from __future__ import annotations

import numpy as np
import pytest

from gainrl.compare import Point, Statistics, curves_of, summarise
from gainrl.compare.figure import draw

ACCURACIES = {"grpo": (0.2, 0.4, 0.5), "mopps": (0.2, 0.5, 0.6), "slow": (0.2, 0.3, 0.3)}


def summary(tasks, counted, spread=0.01):
    points = [
        Point(method, seed, task, 10 * at, 100.0 * at * (1 + seed) if counted else None,
              value + spread * seed, "test")
        for task in tasks
        for seed in range(3)
        for method, values in ACCURACIES.items()
        for at, value in enumerate(values)
    ]  # fmt: skip
    return summarise(curves_of(points), "grpo", how=Statistics(resamples=100, smoothing=1))


@pytest.mark.parametrize(("tasks", "counted"), [([""], False), (["chain", "word"], True)])
def test_there_is_a_panel_for_each_task_currency_and_kind(tmp_path, tasks, counted):
    figure = draw(summary(tasks, counted), tmp_path / "all.png")
    assert (tmp_path / "all.png").stat().st_size > 10_000
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
    labels = ["Steps", "Tokens"] if counted else ["Steps"]
    labels += [f"At equal {name.lower()}: points above grpo" for name in labels]
    labels += [f"Speed-up over grpo in {name.lower()}" for name in labels[: 1 + counted]]
    assert [axis.get_xlabel() for axis in figure.axes] == [label for label in labels for _ in tasks]
    assert [axis.get_title(loc="left") for axis in figure.axes[: len(tasks)]] == tasks
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == list(ACCURACIES)


def test_lines_are_the_means_and_markers_the_tables_numbers(tmp_path):
    found = summary([""], counted=True)
    figure = draw(found, tmp_path / "all.png")
    steps, tokens, difference = figure.axes[:3]
    mean = steps.lines[0]
    assert mean.get_xdata().tolist() == [0, 10, 20]
    assert np.asarray(mean.get_ydata()) == pytest.approx([0.21, 0.41, 0.51])
    assert tokens.lines[0].get_xdata()[-1] == 200  # as far as the seed that spent least
    markers = [each for each in difference.lines if each.get_marker() not in ("None", "")]
    drawn = [float(each.get_xdata()[0]) for each in markers]
    wanted = [100 * line.steps.difference.mean for line in found.lines if line.steps.difference]
    assert drawn == pytest.approx(wanted)


def test_a_method_that_never_gets_there_ends_in_an_arrow(tmp_path):
    figure = draw(summary([""], counted=False, spread=0.0), tmp_path / "all.png")
    ratios = figure.axes[-1]
    assert any(each.get_marker() == "<" for each in ratios.lines)
