"""Figures of the angle signal, from small tables whose every drawn number is known."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from gainrl.analysis.signal_figures import (
    SEGMENTS,
    AngleMap,
    NeuronPanel,
    clip_percentiles,
    figure_answers,
    figure_bins,
    figure_epochs,
    figure_layers,
    figure_maps,
    figure_neurons,
    principal_components,
)
from gainrl.analysis.statistics import bootstrap_interval
from gainrl.errors import DataError


def angle_map(prompt="q1", lengths=(3, 4, 2), layers=(0, 1), **changes):
    """Cosines that differ at every place and layer: -0.9 to 0.9, rising, times the layer's rank."""
    m = sum(lengths)
    rising = np.linspace(-0.9, 0.9, m * m).reshape(m, m)
    cosines = np.stack([rising / (1 + rank) for rank in range(len(layers))])
    fields = {"correct": 3, "samples": 8, "caption": ""} | changes
    return AngleMap(prompt, cosines, layers, *lengths, **fields)


def profile_frame():
    """Three prompts, layers 0 and 1; C_intra = prompt + layer, C_inter = its tenth."""
    rows = [(f"q{i}", layer, i + layer, (i + layer) / 10) for i in range(3) for layer in (0, 1)]
    return pd.DataFrame(rows, columns=["id", "layer", "c_intra", "c_inter"])


def answers_frame():
    """Five questions; 'a' ties at 4 for q1, q3 and q4, and 'b' ties at 1 for q1 and q4."""
    counts = {"q0": (0, 5), "q1": (4, 1), "q2": (5, 0), "q3": (4, 2), "q4": (4, 1)}
    rows = [(q, model, pair["ab".index(model)], 5) for q, pair in counts.items() for model in "ab"]
    return pd.DataFrame(rows, columns=["id", "model", "correct", "samples"])


def epochs_frame():
    rng = np.random.default_rng(1)
    rows = [(step, f"q{i}", *rng.random(3)) for step in (0, 5, 20) for i in range(6)]
    return pd.DataFrame(rows, columns=["step", "id", "c_intra", "c_inter", "c"])


STARTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 1.0)  # with 4 bins: 3, 1, 3 and 1 prompts


def bins_frame():
    """Eight prompts at steps 0 and 10: prompt i has i of 8 right at 0, and one more at 10."""
    rows = [(t, f"q{i}", i + t // 10, 8, c) for t in (0, 10) for i, c in enumerate(STARTS)]
    return pd.DataFrame(rows, columns=["step", "id", "correct", "samples", "start_c"])


def neuron_panel(steps=(0, 5), prompts=6, neurons=4):
    rng = np.random.default_rng(2)
    vectors = rng.random((len(steps), prompts, neurons)) < 0.5
    return NeuronPanel(steps, vectors, rng.random((len(steps), prompts)))


DRAWN = {
    "maps": lambda *paths: figure_maps([angle_map(), angle_map("q2", (2, 2, 0))], *paths),
    "layers": lambda *paths: figure_layers({"nano, chain": profile_frame()}, *paths, 0.5),
    "answers": lambda *paths: figure_answers({"chain": answers_frame()}, *paths),
    "epochs": lambda *paths: figure_epochs({"nano": epochs_frame()}, *paths, 0.9, 50, 3),
    "bins": lambda *paths: figure_bins({"nano": bins_frame()}, *paths, bins=4),
    "neurons": lambda *paths: figure_neurons({"nano": neuron_panel()}, *paths),
}


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "figure.png", tmp_path / "figure.pdf"


def note_of(figure):
    return " ".join(figure.legends[0].get_title().get_text().split())


def keys_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def band_of(collection):
    """(n,) lower and upper limits of a fill_between at its n places."""
    vertices = collection.get_paths()[0].vertices
    places = np.unique(vertices[:, 0])
    at = [vertices[vertices[:, 0] == place, 1] for place in places]
    return [found.min() for found in at], [found.max() for found in at]


def assert_no_text_leaves(figure):
    """No text lies outside the picture, none of the titles and labels on another."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [*figure.texts, figure.legends[0].get_title()]
    for axis in figure.axes:
        texts += [*axis.texts, axis.title, axis._left_title, axis.xaxis.label, axis.yaxis.label]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text().strip()]
    page = figure.bbox
    for box in boxes:
        assert box.x0 >= page.x0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y0 >= page.y0 - 1
        assert box.y1 <= page.y1 + 1
    for place, box in enumerate(boxes):
        for other in boxes[place + 1 :]:
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert width <= 1 or height <= 1.5


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
    assert_no_text_leaves(figure_epochs({key: epochs_frame()}, *paths, 0.9, 20, 0))
    assert_no_text_leaves(figure_bins({key + c: bins_frame() for c in "abcd"}, *paths, bins=4))
    panels = {key + c: neuron_panel(range(n)) for c, n in (("a", 9), ("b", 2))}
    assert_no_text_leaves(figure_neurons(panels, *paths))
    models = {"a": "SmolLM2-135M-Instruct", "b": "Qwen2.5-0.5B-Instruct"}
    frame = answers_frame().replace({"model": models})
    assert_no_text_leaves(figure_answers({"gsm8k": frame}, *paths))


FRAMES = {
    "layers": (profile_frame, lambda panels, *paths: figure_layers(panels, *paths, 0.5)),
    "answers": (answers_frame, figure_answers),
    "epochs": (epochs_frame, lambda panels, *paths: figure_epochs(panels, *paths, 0.9, 20, 0)),
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


# --- figure_layers -------------------------------------------------------------------------------


def test_layers_show_the_mean_and_the_quantiles_over_prompts(paths):
    frame = profile_frame().sample(frac=1, random_state=0)  # the order of the rows does not matter
    figure = figure_layers({"nano, chain": frame, "nano, word": frame}, *paths, 0.5)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        *("nano, chain, 3 prompts", "nano, word, 3 prompts"),
    ]
    intra, inter = figure.axes[0].get_lines()
    assert np.asarray(intra.get_xdata()).tolist() == [0, 1]
    np.testing.assert_allclose(intra.get_ydata(), [1, 2])
    np.testing.assert_allclose(inter.get_ydata(), [0.1, 0.2])
    low, high = band_of(figure.axes[0].collections[0])
    np.testing.assert_allclose([low, high], [[0.5, 1.5], [1.5, 2.5]])  # quartiles of 0, 1, 2
    assert intra.get_color() != inter.get_color()
    assert len(keys_of(figure)) == 2
    assert "central 50% of the prompts (quantiles)" in note_of(figure)


# --- figure_answers ------------------------------------------------------------------------------


def test_questions_stand_in_one_order_for_all_models(paths):
    frame = answers_frame().sample(frac=1, random_state=4)
    frame = frame.sort_values("model", kind="stable")  # so 'a' is first
    figure = figure_answers({"chain": frame}, *paths)
    a, b = figure.axes[0].get_lines()
    assert np.asarray(a.get_xdata()).tolist() == [1, 2, 3, 4, 5]
    assert np.asarray(a.get_ydata()).tolist() == [5, 4, 4, 4, 0]  # q2; q3, q1, q4; q0
    assert np.asarray(b.get_ydata()).tolist() == [0, 2, 1, 1, 5]
    assert a.get_color() != b.get_color()
    assert a.get_marker() != b.get_marker()
    assert keys_of(figure) == ["a", "b"]
    assert figure.axes[0].get_ylabel() == "Correct (of 5)"
    low, high = figure.axes[0].get_ylim()
    assert low < 0 < 5 < high
    # Ranks 5, 3, 3, 3, 1 and 1, 4, 2.5, 2.5, 5: covariance -8, variances 8 and 9.5.
    expected = -8 / np.sqrt(8 * 9.5)
    title = figure.axes[0].get_title(loc="left")
    assert title == f"chain, 5 questions; Spearman's ρ of a and b: {expected:.2f}"


def test_ties_of_both_models_go_by_id(paths):
    rows = [(f"q{i}", model, 1, 2) for i in (3, 1, 2) for model in "ab"]
    frame = pd.DataFrame(rows, columns=["id", "model", "correct", "samples"])
    third = pd.DataFrame({"id": ["q1", "q2", "q3"], "model": "c", "correct": [0, 1, 2]})
    frame = pd.concat([frame, third.assign(samples=2)])
    figure = figure_answers({"chain": frame}, *paths)
    assert np.asarray(figure.axes[0].get_lines()[2].get_ydata()).tolist() == [0, 1, 2]
    assert figure.axes[0].get_title(loc="left").endswith("ρ of a and b: undefined")


def test_a_model_looks_the_same_in_every_panel_and_may_be_alone(paths):
    both = answers_frame()
    alone = both[both["model"] == "b"]
    figure = figure_answers({"chain": both, "word": alone}, *paths)
    assert figure.axes[1].get_title(loc="left") == "word, 5 questions"
    b, again = figure.axes[0].get_lines()[1], figure.axes[1].get_lines()[0]
    assert (b.get_color(), b.get_marker()) == (again.get_color(), again.get_marker())
    assert np.asarray(again.get_ydata()).tolist() == [5, 2, 1, 1, 0]
    assert keys_of(figure) == ["a", "b"]


def test_unequal_samples_and_too_many_models_are_an_error(paths):
    frame = answers_frame()
    with pytest.raises(DataError, match="chain: 'samples' must be the same"):
        figure_answers({"chain": frame.assign(samples=[5] * 9 + [6])}, *paths)
    many = pd.concat([frame.assign(model=name) for name in "vwxyz"]).drop_duplicates(
        ["id", "model"]
    )
    with pytest.raises(DataError, match="at most 4 models"):
        figure_answers({"chain": many}, *paths)


# --- figure_epochs -------------------------------------------------------------------------------


def test_epochs_show_means_with_the_bootstrap_over_prompts(paths):
    frame = epochs_frame()
    figure = figure_epochs({"nano, chain": frame, "nano, word": frame}, *paths, 0.9, 50, 3)
    assert len(figure.axes) == 6
    for axis, column in zip(figure.axes[:3], ("c_intra", "c_inter", "c"), strict=True):
        line = axis.get_lines()[0]
        assert np.asarray(line.get_xdata()).tolist() == [0, 5, 20]
        groups = [group.sort_values("id")[column] for _, group in frame.groupby("step")]
        bands = [bootstrap_interval(g, np.random.default_rng(3), 50, 0.9) for g in groups]
        np.testing.assert_allclose(line.get_ydata(), [group.mean() for group in groups])
        low, high = band_of(axis.collections[0])
        np.testing.assert_allclose(low, [band.low for band in bands])
        np.testing.assert_allclose(high, [band.high for band in bands])
        assert column.split("_")[-1] in axis.get_title().lower()
    rows = [figure.axes[row].texts[0].get_text() for row in (0, 3)]
    assert rows == ["nano, chain, 6 prompts", "nano, word, 6 prompts"]
    assert "90% percentile bootstrap over prompts (50 resamples)" in note_of(figure)


def test_one_prompt_has_no_band(paths):
    frame = epochs_frame()
    figure = figure_epochs({"nano": frame[frame["id"] == "q0"]}, *paths, 0.9, 50, 3)
    assert [len(axis.collections) for axis in figure.axes] == [0, 0, 0]
    assert [len(axis.get_lines()) for axis in figure.axes] == [1, 1, 1]


# --- figure_bins ---------------------------------------------------------------------------------


def test_bins_count_the_prompts_and_show_the_mean_share(paths):
    figure = figure_bins({"nano": bins_frame()}, *paths, bins=4)
    heat, below, bar = figure.axes
    assert [patch.get_height() for patch in below.patches] == [3, 1, 3, 1]
    np.testing.assert_allclose([patch.get_x() for patch in below.patches], [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose([patch.get_width() for patch in below.patches], 0.25)
    mesh = heat.collections[0]
    shares = np.ma.filled(mesh.get_array(), np.nan)
    few = np.nan  # bins 1 and 3 hold one prompt
    # Bin 0: prompts 0, 1, 2; bin 2: prompts 4, 5, 6; one more right answer at step 10.
    np.testing.assert_allclose(
        shares, [[1 / 8, few, 5 / 8, few], [2 / 8, few, 6 / 8, few]], equal_nan=True
    )
    assert mesh.get_clim() == (1 / 8, 6 / 8)
    hatched = sorted((patch.get_y(), patch.get_x()) for patch in heat.patches)
    np.testing.assert_allclose(hatched, [(0, 0.25), (0, 0.75), (1, 0.25), (1, 0.75)])
    assert all(patch.get_hatch() for patch in heat.patches)
    assert [text.get_text() for text in heat.get_yticklabels()] == ["0", "10"]
    assert heat.get_yticks().tolist() == [0.5, 1.5]  # the middle of the step's row
    assert heat.get_xlim() == below.get_xlim() == (0, 1)
    assert keys_of(figure) == ["Fewer than 3 prompts: no mean"]
    assert bar.get_ylabel() == "Right answers (%)"
    assert heat.get_title(loc="left") == "nano, 8 prompts"


def test_panels_share_one_scale_of_colour(paths):
    frame = bins_frame()
    better = frame.assign(correct=8)
    figure = figure_bins({"nano": frame, "smol": better}, *paths, bins=4)
    limits = [axis.collections[0].get_clim() for axis in figure.axes[:2]]
    assert limits == [(1 / 8, 1), (1 / 8, 1)]


def test_a_prompt_may_be_absent_at_a_step(paths):
    frame = bins_frame()
    absent = frame[~((frame["step"] == 10) & (frame["id"] == "q0"))]
    figure = figure_bins({"nano": absent}, *paths, bins=4)
    shares = np.ma.filled(figure.axes[0].collections[0].get_array(), np.nan)
    assert np.isnan(shares[:, 0]).tolist() == [False, True]  # two of its three are left
    assert [patch.get_height() for patch in figure.axes[1].patches] == [3, 1, 3, 1]


def test_equal_c_is_one_full_bin(paths):
    figure = figure_bins({"nano": bins_frame().assign(start_c=0.4)}, *paths, bins=3)
    assert sorted(patch.get_height() for patch in figure.axes[1].patches) == [0, 0, 8]


def test_bins_need_a_fixed_start_and_enough_prompts(paths):
    frame = bins_frame()
    with pytest.raises(DataError, match="nano: 'start_c' of id 'q2' changes"):
        figure_bins({"nano": frame.assign(start_c=[*STARTS, 0, 0.1, 0.9, *STARTS[3:]])}, *paths)
    with pytest.raises(DataError, match="no bin of start_c holds 3 prompts"):
        figure_bins({"nano": frame}, *paths, bins=100)


# --- figure_neurons ------------------------------------------------------------------------------


def test_neurons_are_projected_by_one_pca_over_all_steps(paths):
    panel = neuron_panel()
    figure = figure_neurons({"nano, chain": panel}, *paths)
    first, last, bar = figure.axes
    points, shares = principal_components(panel.vectors.reshape(12, 4), 2)
    for step, axis in enumerate((first, last)):
        dots = axis.collections[0]
        np.testing.assert_allclose(dots.get_offsets(), points.reshape(2, 6, 2)[step])
        np.testing.assert_allclose(dots.get_array(), panel.accuracy[step])
        assert dots.get_clim() == (0, 1)
        assert dots.get_cmap().name == "viridis"
        assert axis.get_title() == f"Step {panel.steps[step]}"
        assert axis.get_xlabel() == f"PC 1 ({shares[0]:.1%})"
        (x0, x1), (y0, y1) = axis.get_xlim(), axis.get_ylim()
        assert x0 < points[:, 0].min() < points[:, 0].max() < x1
        assert y0 < points[:, 1].min() < points[:, 1].max() < y1
    assert first.get_ylabel() == f"PC 2 ({shares[1]:.1%})"
    assert first.get_xlim() == last.get_xlim()
    assert first.get_ylim() == last.get_ylim()
    assert first.texts[0].get_text() == "nano, chain, 6 prompts"
    assert bar.get_ylabel() == "Right answers (%)"


def test_of_many_steps_five_are_drawn_and_all_are_fitted(paths):
    panel = neuron_panel(steps=(0, 1, 2, 3, 4, 5, 6, 7, 10))
    figure = figure_neurons({"a": panel, "b": neuron_panel()}, *paths)
    titles = [axis.get_title() for axis in figure.axes[:-1]]
    assert titles == [f"Step {step}" for step in (0, 2, 4, 6, 10, 0, 5)]
    _, shares = principal_components(panel.vectors.reshape(-1, 4), 2)
    assert figure.axes[0].get_xlabel() == f"PC 1 ({shares[0]:.1%})"


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": (0,)},
        {"accuracy": np.zeros((2, 5))},
        {"accuracy": np.full((2, 6), 1.1)},
        {"accuracy": np.full((2, 6), -0.1)},
        {"accuracy": np.full((2, 6), np.nan)},
        {"steps": (), "vectors": np.zeros((0, 6, 4), bool), "accuracy": np.zeros((0, 6))},
    ],
)
def test_neuron_panels_whose_parts_do_not_agree_are_an_error(wrong, paths):
    with pytest.raises(DataError, match="nano: steps, vectors and accuracy must agree"):
        figure_neurons({"nano": NeuronPanel(**{**vars(neuron_panel()), **wrong})}, *paths)


def test_an_unwritable_path_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        DRAWN["answers"](tmp_path / "file/figure.png", tmp_path / "figure.pdf")
