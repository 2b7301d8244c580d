"""The figures about layers, answers, epochs, bins and neurons, one by one."""

import numpy as np
import pandas as pd
import pytest
from signal_frames import (
    DRAWN,
    STARTS,
    answers_frame,
    band_of,
    bins_frame,
    epochs_frame,
    keys_of,
    neuron_panel,
    note_of,
    profile_frame,
)

from gainrl.compare.statistics import mean_interval
from gainrl.errors import DataError
from gainrl.study.figures import (
    NeuronPanel,
    figure_answers,
    figure_bins,
    figure_epochs,
    figure_layers,
    figure_neurons,
)
from gainrl.study.projection import principal_components


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "figure.png", tmp_path / "figure.pdf"


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


def test_epochs_show_means_with_their_interval_over_prompts(paths):
    frame = epochs_frame()
    figure = figure_epochs({"nano, chain": frame, "nano, word": frame}, *paths, 0.9)
    assert len(figure.axes) == 6
    for axis, column in zip(figure.axes[:3], ("c_intra", "c_inter", "c"), strict=True):
        line = axis.get_lines()[0]
        assert np.asarray(line.get_xdata()).tolist() == [0, 5, 20]
        groups = [group.sort_values("id")[column] for _, group in frame.groupby("step")]
        bands = [mean_interval(g, 0.9) for g in groups]
        np.testing.assert_allclose(line.get_ydata(), [group.mean() for group in groups])
        low, high = band_of(axis.collections[0])
        np.testing.assert_allclose(low, [band.low for band in bands])
        np.testing.assert_allclose(high, [band.high for band in bands])
        assert column.split("_")[-1] in axis.get_title().lower()
    rows = [figure.axes[row].texts[0].get_text() for row in (0, 3)]
    assert rows == ["nano, chain, 6 prompts", "nano, word, 6 prompts"]
    assert "90% interval over prompts" in note_of(figure)


def test_one_prompt_has_no_band(paths):
    frame = epochs_frame()
    figure = figure_epochs({"nano": frame[frame["id"] == "q0"]}, *paths, 0.9)
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
