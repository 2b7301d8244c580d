"""The figure of all methods: what is drawn of closed, open and unknown intervals."""

from __future__ import annotations

import math

import matplotlib.image
import pandas as pd
import pytest
from presets import changed, error_of

from gainrl import plan
from gainrl.compare.style import looks_of
from gainrl.errors import DataError
from gainrl.stages.common import Context
from gainrl.tables.speed_figure import figure_speed, make_speed_figure
from gainrl.tables.table import COLUMNS

METHODS = ["grpo", "gain", "adarft", "lost"]
NAN, INF = math.nan, math.inf


def rows(dataset="chain", methods=METHODS):
    """gain: 2x in [1, 4]; adarft: censored, at most half as fast; lost: nothing is known."""
    speed = {"gain": (2, 1, 4), "adarft": (NAN, 0, 0.5), "lost": (NAN, NAN, NAN)}
    equal = {"gain": (0.01, -0.01, 0.03), "adarft": (-0.06, -0.08, -0.04), "lost": (0, 0, 0)}
    level = {"gain": (0.02, 0.01, 0.04), "adarft": (-0.03, -0.05, -0.01), "lost": (0, 0, 0)}
    found = []
    for method in methods:
        found.append(["tiny", dataset, method, dataset, "final_accuracy", 0.5, 0.4, 0.6, 5, ""])
        for metric, values in (
            ("difference_to_baseline", level),
            ("difference_at_equal_tokens", equal),
            ("speedup_tokens", speed),
            ("speedup", speed),
        ):
            if method in values:
                found.append(["tiny", dataset, method, dataset, metric, *values[method], 5, ""])
    return found


def drawn(tmp_path, data, currency="tokens"):
    frame = pd.DataFrame(data, columns=COLUMNS[:10])
    paths = tmp_path / "speed.png", tmp_path / "speed.pdf"
    labels = {"grpo": "GRPO", "gain": "GAIN-RL"}
    return figure_speed(frame, currency, "grpo", labels, looks_of(METHODS), *paths)


def line_ends(axis):
    """(y, from, to) of the bars, and (y, x, marker) of the single points."""
    lines = [(line.get_xdata(), line.get_ydata(), line.get_marker()) for line in axis.lines[1:]]
    bars = [(y[0], *x) for x, y, _ in lines if len(x) == 2]
    return bars, [(y[0], x[0], marker) for x, y, marker in lines if len(x) == 1]


def test_differences_are_in_points_and_speedups_in_ratios(tmp_path):
    figure = drawn(tmp_path, rows())
    difference, equal, speed = figure.axes
    assert [text.get_text() for text in difference.get_yticklabels()] == [
        "GAIN-RL",
        "adarft",
        "lost",
    ]
    bars, points = line_ends(difference)
    assert [pytest.approx(bar) for bar in bars] == [(0, 1, 4), (1, -5, -1), (2, 0, 0)]
    assert [(y, x) for y, x, _ in points] == [(0, pytest.approx(2)), (1, -3), (2, 0)]
    bars, points = line_ends(equal)
    assert [pytest.approx(bar) for bar in bars] == [(0, -1, 3), (1, -8, -4), (2, 0, 0)]
    assert [x for _, x, _ in points] == [pytest.approx(1), pytest.approx(-6), 0]
    assert equal.get_xlim() == difference.get_xlim()
    assert equal.get_xlabel() == "Accuracy at equal rollout tokens: points above GRPO"
    bars, points = line_ends(speed)
    assert bars == [(0, 1, 4), (1, 1 / 4, 0.5)]  # 4 is the largest end, so the axis ends there
    assert [(y, x) for y, x, _ in points] == [(0, 2), (1, 1 / 4)]
    assert points[1][2] == "<"  # an arrow: censored seeds lie in [0, 0.5]
    assert speed.get_xlim() == (1 / 4, 4)
    assert matplotlib.image.imread(tmp_path / "speed.png").std() > 0


def test_an_open_end_is_an_arrow_at_the_limit(tmp_path):
    data = rows()
    index = next(i for i, row in enumerate(data) if row[2] == "gain" and row[4] == "speedup_tokens")
    data[index][5:8] = [NAN, 3.0, INF]  # gain: at least 3
    bars, points = line_ends(drawn(tmp_path, data).axes[2])
    assert bars[0] == (0, 3, 4)
    assert points[0] == (0, 4, ">")


def test_an_interval_that_says_nothing_is_not_drawn(tmp_path):
    data = rows()
    index = next(i for i, row in enumerate(data) if row[2] == "gain" and row[4] == "speedup_tokens")
    data[index][5:8] = [NAN, 0.0, INF]
    bars, points = line_ends(drawn(tmp_path, data).axes[2])
    assert [bar[0] for bar in bars] == [1]  # ADARFT's alone
    assert [point[0] for point in points] == [1]


def test_each_data_set_has_a_column(tmp_path):
    figure = drawn(tmp_path, rows() + rows("word"))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["chain", "word", *4 * [""]]


def test_a_column_names_the_model_only_where_a_data_set_has_several(tmp_path):
    other = [["large", *row[1:]] for row in rows("word")]
    figure = drawn(tmp_path, rows() + other)
    assert [axis.get_title(loc="left") for axis in figure.axes[:2]] == ["chain", "word"]
    other = [["large", *row[1:]] for row in rows()]
    figure = drawn(tmp_path, rows() + other)
    assert [axis.get_title(loc="left") for axis in figure.axes[:2]] == ["tiny", "large"]


def test_steps_are_equal_at_the_end(tmp_path):
    figure = drawn(tmp_path, rows(), "steps")
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "Final accuracy: points above GRPO",
        "RL steps to GRPO's level: speed-up",
    ]


def test_two_pictures_of_the_same_table_have_the_same_bytes(tmp_path):
    drawn(tmp_path, rows())
    first = [(tmp_path / name).read_bytes() for name in ("speed.png", "speed.pdf")]
    drawn(tmp_path, rows())
    assert [(tmp_path / name).read_bytes() for name in ("speed.png", "speed.pdf")] == first


def test_a_table_of_the_baseline_alone_is_refused(tmp_path):
    with pytest.raises(DataError, match="no methods"):
        drawn(tmp_path, rows(methods=["grpo"]))


def test_the_table_has_to_be_there(tmp_path):
    data = changed("experiments", "table1", "speed", to="tokens")
    data["experiments"]["table1"]["figure"] = "curves"
    with pytest.raises(DataError, match=r"table1\.csv: no such table"):
        make_speed_figure(Context(plan.load(data), tmp_path), "table1", tmp_path / "a.png")


def test_speed_needs_a_figure_and_something_to_compare():
    assert "speed: needs the key 'figure'" in error_of(
        changed("experiments", "table1", "speed", to="tokens")
    )
    data = changed("experiments", "table1", "speed", to="tokens")
    data["experiments"]["table1"] |= {"figure": "curves", "methods": ["grpo"]}
    assert "speed: needs a method beside the baseline" in error_of(data)
