"""Figures of the angle signal, from small tables whose every drawn number is known."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from signal_frames import (
    DRAWN,
    angle_map,
    answers_frame,
    assert_no_text_leaves,
    bins_frame,
    epochs_frame,
    keys_of,
    neuron_panel,
    note_of,
    profile_frame,
)

from gainrl.errors import DataError
from gainrl.study.figures import (
    SEGMENTS,
    AngleMap,
    figure_answers,
    figure_bins,
    figure_epochs,
    figure_layers,
    figure_maps,
    figure_neurons,
)
from gainrl.study.projection import clip_percentiles, principal_components


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "figure.png", tmp_path / "figure.pdf"


# --- numbers -------------------------------------------------------------------------------------


def test_values_are_clipped_to_their_own_percentiles():
    values = np.arange(101.0)[::-1].reshape(1, 101)
    clipped = clip_percentiles(values, 3, 97)
    assert clipped.shape == (1, 101)
    assert (clipped.min(), clipped.max()) == (3, 97)
    assert clipped[0, 10:12].tolist() == [90, 89]
    assert (clipped == 3).sum() == 4  # 0, 1, 2 and 3 itself


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([], 3, 97), ([1, np.nan], 3, 97), ([1, 2], 97, 3), ([1, 2], -1, 50)],
)
def test_what_has_no_percentiles_is_an_error(values, low, high):
    with pytest.raises(DataError, match="no finite values to clip"):
        clip_percentiles(np.array(values, dtype=float), low, high)


def test_principal_components_of_a_cross():
    first, second = np.array([0.6, 0.8]), np.array([-0.8, 0.6])
    rows = np.array([10, 20]) + np.stack([2 * first, -2 * first, second, -second])
    points, shares = principal_components(rows, 2)
    # Component 2 has its largest loading at -0.8, so it is turned round.
    np.testing.assert_allclose(points, [[2, 0], [-2, 0], [0, -1], [0, 1]], atol=1e-12)
    np.testing.assert_allclose(shares, [0.8, 0.2])
    alone, share = principal_components(rows, 1)
    np.testing.assert_allclose(alone, points[:, :1], atol=1e-12)
    np.testing.assert_allclose(share, [0.8])


def test_of_loadings_of_one_size_the_first_is_positive():
    rows = np.array([[0, 1], [1, 0], [0, 1]], dtype=bool)
    points, shares = principal_components(rows, 1)
    np.testing.assert_allclose(points[:, 0], np.array([-1, 2, -1]) * np.sqrt(2) / 3)
    np.testing.assert_allclose(shares, [1])
    for seed in range(20):  # rounding makes another one of the 40 the largest by some bits
        column = np.random.default_rng(seed).random((50, 1)) < 0.5
        many = np.hstack([column, ~column] * 20)
        assert principal_components(many, 1)[0][column[:, 0]].min() > 0


def test_equal_rows_have_no_variance():
    points, shares = principal_components(np.ones((3, 2), bool), 2)
    assert not points.any()
    assert shares.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("rows", "k"), [(np.eye(3), 0), (np.eye(3), 4), (np.arange(3), 1), ([[0, np.nan]], 1)]
)
def test_impossible_components_are_an_error(rows, k):
    with pytest.raises(DataError, match=f"no {k} principal components"):
        principal_components(rows, k)


# --- what all share ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_are_the_same_bytes_every_time(name, tmp_path):
    written = []
    for copy in ("a", "b"):
        paths = [tmp_path / f"{copy}.{kind}" for kind in ("png", "pdf")]
        DRAWN[name](*paths)
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert written[0][1].startswith(b"%PDF")
    assert b"CreationDate" not in written[0][1]
    pixels = matplotlib.image.imread(tmp_path / "a.png")[..., :3]
    assert (np.ptp(pixels, axis=-1) > 0.3).sum() > 500  # coloured ones


@pytest.mark.parametrize("name", DRAWN)
def test_texts_stay_on_the_page_and_apart(name, paths):
    assert_no_text_leaves(DRAWN[name](*paths))


def test_long_names_stay_on_the_page_and_apart(paths):
    long = [angle_map("gsm8k-train-004711 " * 9, layers=range(12)), angle_map("q2")]
    assert_no_text_leaves(figure_maps(long, *paths))
    key = "SmolLM2-135M-Instruct, gsm8k"
    assert_no_text_leaves(figure_layers({key + c: profile_frame() for c in "abc"}, *paths, 0.5))
    assert_no_text_leaves(figure_epochs({key: epochs_frame()}, *paths, 0.9))
    assert_no_text_leaves(figure_bins({key + c: bins_frame() for c in "abcd"}, *paths, bins=4))
    panels = {key + c: neuron_panel(range(n)) for c, n in (("a", 9), ("b", 2))}
    assert_no_text_leaves(figure_neurons(panels, *paths))
    models = {"a": "SmolLM2-135M-Instruct", "b": "Qwen2.5-0.5B-Instruct"}
    frame = answers_frame().replace({"model": models})
    assert_no_text_leaves(figure_answers({"gsm8k": frame}, *paths))


FRAMES = {
    "layers": (profile_frame, lambda panels, *paths: figure_layers(panels, *paths, 0.5)),
    "answers": (answers_frame, figure_answers),
    "epochs": (epochs_frame, lambda panels, *paths: figure_epochs(panels, *paths, 0.9)),
    "bins": (bins_frame, figure_bins),
}


@pytest.mark.parametrize("name", FRAMES)
def test_bad_frames_are_one_line_that_names_the_panel(name, paths):
    make, draw = FRAMES[name]
    good = make()
    number = good.columns[-1]
    across = "model" if name == "answers" else "layer" if name == "layers" else "step"
    bad = [
        ({}, "nothing to draw"),
        ({"p": good.iloc[:0]}, "p: no rows"),
        ({"p": good.drop(columns=["id", number])}, f"p: missing columns: id, {number}$"),
        ({"p": good.assign(**{number: np.nan})}, f"p: '{number}' must be a finite number"),
        ({"p": good.assign(**{number: np.inf})}, f"p: '{number}' must be a finite number"),
        ({"p": good.assign(**{number: "1"})}, f"p: '{number}' must be a finite number"),
        (
            {"p": pd.concat([good, good.iloc[3:4].assign(**{number: 2})])},
            f"p: id '.*' twice at one {across}",
        ),
    ]
    for panels, message in bad:
        with pytest.raises(DataError, match=message) as caught:
            draw(panels, *paths)
        assert "\n" not in str(caught.value)
    assert not any(path.exists() for path in paths)


@pytest.mark.parametrize("name", ["layers", "answers", "epochs"])
def test_a_prompt_without_one_of_the_rows_is_an_error(name, paths):
    make, draw = FRAMES[name]
    good = make()
    with pytest.raises(DataError, match=f"p: id '{good['id'].iloc[-1]}' is missing at some"):
        draw({"p": good.iloc[:-1]}, *paths)


@pytest.mark.parametrize("name", ["answers", "bins"])
@pytest.mark.parametrize("changes", [{"correct": 9}, {"correct": -1}, {"samples": 0, "correct": 0}])
def test_impossible_counts_are_an_error(name, changes, paths):
    make, draw = FRAMES[name]
    with pytest.raises(DataError, match="p: 'correct' must lie within 0 and 'samples'"):
        draw({"p": make().assign(**changes)}, *paths)


# --- figure_maps ---------------------------------------------------------------------------------


def test_maps_show_the_clipped_cosines_of_each_layer(paths):
    maps = [angle_map("q1", caption="easy"), angle_map("q2", correct=None)]
    figure = figure_maps(maps, *paths)
    *axes, bar = figure.axes
    assert [axis.get_title() for axis in axes] == ["Layer 0", "Layer 1"] * 2
    drawn = axes[1].get_images()[0]
    low, high = np.percentile(maps[0].cosines[1], [3, 97])
    np.testing.assert_allclose(drawn.get_array(), np.clip(maps[0].cosines[1], low, high))
    np.testing.assert_allclose(drawn.get_clim(), [low, high])
    assert drawn.get_cmap().name == "cividis"
    assert axes[1].get_xlabel() == f"{low:.2f} to {high:.2f}"
    assert [axes[row].texts[0].get_text() for row in (0, 2)] == [
        *("q1, 3 of 8 correct, 9 tokens, easy", "q2, 9 tokens"),
    ]
    assert [text.get_text() for text in bar.get_yticklabels()] == ["3rd\npct.", "97th\npct."]
    assert "one prompt, no mean" in note_of(figure)


def test_maps_mark_the_segments(paths):
    figure = figure_maps([angle_map(lengths=(3, 4, 2)), angle_map(lengths=(3, 6, 0))], *paths)
    for axis, lengths in ((figure.axes[0], (3, 4, 2)), (figure.axes[2], (3, 6, 0))):
        bars = {bar.get_label(): bar for bar in axis.patches}
        kept = [n for n in lengths if n]
        starts = np.cumsum([0, *kept])[:-1] - 0.5
        assert list(bars) == list(SEGMENTS)[: len(kept)]
        assert [bar.get_x() for bar in bars.values()] == starts.tolist()
        assert [bar.get_width() for bar in bars.values()] == kept
        assert all(to_hex(bar.get_facecolor()).upper() == SEGMENTS[n] for n, bar in bars.items())
        top = axis.get_window_extent().y1
        title = axis.title.get_window_extent()
        for bar in bars.values():
            assert top < bar.get_window_extent().y0
            assert bar.get_window_extent().y1 < title.y0
        upright = [line.get_xdata()[0] for line in axis.get_lines() if line.get_xdata()[1] != 1]
        level = [line.get_ydata()[0] for line in axis.get_lines() if line.get_ydata()[1] != 1]
        assert upright == level == starts[1:].tolist()
        assert axis.get_xlim() == (-0.5, 8.5)
        assert axis.get_ylim() == (8.5, -0.5)  # row 0 on top
    assert keys_of(figure) == list(SEGMENTS)


def test_of_many_layers_six_are_drawn_first_and_last_included(paths):
    many = angle_map(layers=range(1, 13))
    figure = figure_maps([many, angle_map(layers=(0, 4))], *paths)
    titles = [axis.get_title() for axis in figure.axes[:-1]]
    assert titles == [f"Layer {layer}" for layer in (1, 3, 5, 8, 10, 12, 0, 4)]
    low, high = figure.axes[1].get_images()[0].get_clim()
    np.testing.assert_allclose([low, high], np.percentile(many.cosines[2], [3, 97]))
    widths = [axis.get_position().width for axis in figure.axes[:-1]]
    np.testing.assert_allclose(widths, widths[0])  # rows of few layers have maps of the same size


@pytest.mark.parametrize(
    "wrong",
    [
        {"cosines": np.zeros((2, 9, 8))},
        {"cosines": np.zeros((3, 9, 9))},
        {"cosines": np.full((2, 9, 9), np.nan)},
        {"n_suffix": 1},
        {"cosines": np.zeros((0, 9, 9)), "layers": []},
    ],
)
def test_maps_whose_parts_do_not_agree_are_an_error(wrong, paths):
    with pytest.raises(DataError, match="q1: cosines must be finite, of shape"):
        figure_maps([AngleMap(**{**vars(angle_map()), **wrong})], *paths)


def test_no_maps_and_no_neuron_panels_are_an_error(paths):
    with pytest.raises(DataError, match="nothing to draw"):
        figure_maps([], *paths)
    with pytest.raises(DataError, match="nothing to draw"):
        figure_neurons({}, *paths)
