"""Table 1 and the figures, from run folders that the tests write themselves."""

import json
import math

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from run_folders import GAIN, GRPO, cell, change, two_methods, write_lines, write_run
from signal_frames import band_of

from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.results.runs import collect
from gainrl.tables.curves import HEALTH, figure7, figure_cost, figure_steps
from gainrl.tables.table import COLUMNS, table1, write_table

CONFIG = Statistics(resamples=500, smoothing=1)


@pytest.fixture
def folders(tmp_path):
    return two_methods(tmp_path)


# --- the table -----------------------------------------------------------------------------------


def test_table_has_the_numbers_worked_by_hand(folders):
    table = table1(collect(folders), CONFIG, "grpo")
    assert list(table) == COLUMNS
    mean = {(row.method, row.metric): row.mean for row in table.itertuples()}
    assert mean["grpo", "start_accuracy"] == pytest.approx(0.2)
    assert mean["grpo", "final_accuracy"] == pytest.approx(0.5)
    assert mean["gain", "final_accuracy"] == pytest.approx(0.75)
    assert mean["gain", "difference_to_baseline"] == pytest.approx((0.2 + 0.3) / 2)
    assert mean["gain", "rollout_tokens"] == pytest.approx((400 + 404) / 2)
    assert mean["gain", "seconds"] == 8
    assert mean["gain", "zero_variance_share"] == 0.25
    assert ("grpo", "difference_to_baseline") not in mean
    difference = cell(table, "gain", "difference_to_baseline")
    assert (difference["low"], difference["high"]) == pytest.approx(
        (0.25 - 0.63531, 0.25 + 0.63531)
    )


def test_what_the_curriculum_takes_of_the_training_time(folders):
    for folder in folders:  # steps of 2 s
        timed = '"seconds_curriculum": 0.5, "seconds_train"'
        change(folder / "timing.jsonl", '"seconds_train"', timed)
    table = table1(collect(folders), CONFIG, "grpo")
    assert cell(table, "gain", "overhead_share")["mean"] == pytest.approx(0.25)


def test_best_accuracy_is_of_all_tests(tmp_path):
    runs = collect([write_run(tmp_path, "grpo", 0, [0.2, 0.9, 0.5])])
    assert cell(table1(runs, CONFIG, "grpo"), "grpo", "best_accuracy")["mean"] == 0.9


def test_censored_baseline_seeds_are_counted_not_dropped(folders):
    # target 0.5: GRPO's seed 0 ends at 0.4 (censored), seed 1 gets there at 4; GAIN-RL both at 2
    table = table1(collect(folders), CONFIG, "grpo")
    base = cell(table, "grpo", "steps_to_baseline")
    assert base["mean"] == math.inf
    assert base["note"] == "median: >4 (1 of 2 censored)"
    assert (base["lower"], base["upper"], base["censored"]) == (4, math.inf, 1)
    assert cell(table, "gain", "steps_to_baseline")["mean"] == 2
    ratio = cell(table, "gain", "speedup")
    assert math.isnan(ratio["mean"])
    assert ratio["note"] == "median: ≥2.00× (1 of 2 censored)"


def test_a_baseline_that_learned_nothing_gives_no_speedup(tmp_path):
    flat = [write_run(tmp_path, "grpo", 0, [0.4, 0.3, 0.4])]
    runs = collect([*flat, write_run(tmp_path, "gain", 0, [0.4, 0.3, 0.8])])
    ratio = cell(table1(runs, CONFIG, "grpo"), "gain", "speedup")
    assert math.isnan(ratio["mean"])
    assert ratio["note"].startswith("undefined")


def test_a_baseline_whose_gain_is_noise_gives_no_speedup(tmp_path):
    flat = [write_run(tmp_path, "grpo", 0, [0.0, 0.0, 0.01])]  # one problem of 100, by chance
    runs = collect([*flat, write_run(tmp_path, "gain", 0, [0.0, 0.01, 0.4])])
    table = table1(runs, CONFIG, "grpo")
    for metric in ("speedup", "speedup_tokens", "steps_to_baseline"):
        row = cell(table, "gain", metric)
        assert math.isnan(row["mean"])
        assert row["note"] == "undefined: the baseline did not learn"
    write_table(table, tmp_path / "table1.csv")
    assert "undefined" in (tmp_path / "table1.md").read_text()


def test_one_seed_has_nan_limits_and_no_brackets(tmp_path):
    runs = collect([write_run(tmp_path, "grpo", 0, GRPO[0])])
    table = table1(runs, CONFIG, "grpo")
    assert table[["low", "high"]].isna().all(axis=None)
    write_table(table, tmp_path / "table1.csv")
    text = (tmp_path / "table1.md").read_text()
    assert "| GRPO | 40.0 |" in text
    assert "one seed has no spread" in text


def test_several_benchmarks_are_averaged_without_weights(tmp_path):
    both = {"chain": [0.2, 0.3, 0.4], "words": [0.4, 0.7, 0.8]}
    table = table1(collect([write_run(tmp_path, "grpo", 0, both)]), CONFIG, "grpo")
    final = table[table["metric"] == "final_accuracy"].set_index("benchmark")["mean"]
    assert final.to_dict() == pytest.approx({"chain": 0.4, "words": 0.8, "average": 0.6})


def test_methods_need_the_same_seeds_and_a_baseline(folders):
    with pytest.raises(DataError, match=r"grpo has seeds \[0, 1\], gain has \[0\]"):
        table1(collect(folders[:3]), CONFIG, "grpo")
    with pytest.raises(DataError, match="no runs of the baseline 'grop'; did you mean 'grpo'"):
        table1(collect(folders), CONFIG, "grop")


def test_both_files_are_written_and_agree(folders, tmp_path):
    table = table1(collect(folders), CONFIG, "grpo")
    write_table(table, tmp_path / "out/table1.csv", title="Table 1. Tiny.")
    again = pd.read_csv(tmp_path / "out/table1.csv", keep_default_na=True)
    assert list(again) == COLUMNS
    assert again["mean"].to_numpy() == pytest.approx(table["mean"].to_numpy(), nan_ok=True)
    lines = (tmp_path / "out/table1.md").read_text().splitlines()
    assert lines[0] == "Table 1. Tiny."
    gain = next(line for line in lines if line.startswith("| GAIN-RL"))
    assert "| 2.00× [open, open] | 75.0 [0.0, 100.0] | +25.0 [-38.5, +88.5] |" in gain
    assert "n = 2 seeds" in lines[-1]
    assert "100 problems, 1 sample each, greedy; final is step 4" in lines[-1]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "table1.csv",
        "table1.json",
        "table1.md",
        "table1.tex",
    ]


def test_rows_do_not_depend_on_which_other_methods_there_are(folders, tmp_path):
    other = [write_run(tmp_path, "mopps", seed, GAIN[seed]) for seed in (0, 1)]
    few = table1(collect(folders), CONFIG, "grpo")
    many = table1(collect([*other, *folders]), CONFIG, "grpo")
    kept = many[many["method"] != "mopps"].reset_index(drop=True)
    pd.testing.assert_frame_equal(few, kept, check_flags=False)


# --- figures -------------------------------------------------------------------------------------


def drawn_colours(path):
    """Colours of a picture that are not grey."""
    pixels = matplotlib.image.imread(path)[..., :3]
    return int((np.ptp(pixels, axis=-1) > 0.3).sum())


def test_learning_curves_have_a_panel_a_benchmark_and_the_data(tmp_path):
    curves = {"chain": [0.2, 0.3, 0.4], "words": [0.4, 0.7, 0.8]}
    folders = [write_run(tmp_path, m, seed, curves) for m in ("grpo", "gain") for seed in (0, 1)]
    paths = (tmp_path / "figure7.png", tmp_path / "figure7.pdf")
    figure = figure7(collect(folders), CONFIG, *paths)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        *("tiny, chain", "words", "average"),
    ]
    words = figure.axes[1]
    lines = [line for line in words.get_lines() if len(line.get_xdata()) == 3]
    assert [np.asarray(line.get_ydata()).tolist() for line in lines] == [curves["words"]] * 2
    assert len(words.collections) == 2  # a band a method
    assert words.get_lines()[0].get_ydata()[0] == pytest.approx(0.8)  # the baseline's level
    assert len({line.get_color() for line in lines}) == 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["GRPO", "GAIN-RL", "GRPO, last test", "Start model"]
    assert drawn_colours(paths[0]) > 500
    assert paths[1].read_bytes().startswith(b"%PDF")


def test_bands_are_without_what_runs_of_a_seed_have_in_common(tmp_path):
    """Levels of seeds are 30 points apart, what the methods differ by is the same in both."""
    tests = {"grpo": (0.0, 0.1, 0.1), "gain": (0.0, 0.2, 0.3)}
    folders = [
        write_run(tmp_path, method, seed, {"chain": [0.2 + 0.3 * seed + each for each in rise]})
        for method, rise in tests.items()
        for seed in (0, 1)
    ]
    figure = figure7(collect(folders), CONFIG, tmp_path / "a.png", tmp_path / "a.pdf")
    for band in figure.axes[0].collections:
        low, high = band_of(band)
        np.testing.assert_allclose(low, high, atol=1e-9)
    note = figure.legends[0].get_title().get_text()
    assert note.endswith("over 2 seeds (t), without what runs of a seed have in common.")


def test_accuracy_stands_where_the_runs_had_spent_as_much(folders, tmp_path):
    paths = (tmp_path / "cost.png", tmp_path / "cost.pdf")
    tokens, seconds = figure_cost(collect(folders), CONFIG, *paths).axes
    # tests at 0, 2 and 4 steps of 100 + seed tokens and 2 seconds, in the mean over two seeds
    assert tokens.get_lines()[0].get_xdata().tolist() == [0, 201, 402]
    assert seconds.get_lines()[1].get_xdata().tolist() == [0, 4, 8]
    assert seconds.get_lines()[1].get_ydata().tolist() == pytest.approx([0.2, 0.5, 0.75])
    assert drawn_colours(paths[0]) > 500


def by_tokens(folder, steps, tested):
    """Make a run one that ended after 400 tokens, tested in two parts: of `steps` and `tested`."""
    path = folder / "run.json"
    run = json.loads(path.read_text())
    run["training"] |= {"tokens": 400, "tests": 2, "steps": 99}
    path.write_text(json.dumps(run))
    done = json.loads((folder / "done.json").read_text())
    (folder / "done.json").write_text(json.dumps({**done, "steps": len(steps)}))
    for name in ("steps", "timing"):
        at = folder / f"{name}.jsonl"
        rows = [json.loads(line) for line in at.read_text().splitlines()] * 2
        rows = [{**row, "step": i + 1} for i, row in enumerate(rows[: len(steps)])]
        if name == "steps":
            rows = [{**row, "rollout_tokens": n} for row, n in zip(rows, steps, strict=True)]
        write_lines(at, rows)
    test = json.loads((folder / "eval.jsonl").read_text().splitlines()[0])
    write_lines(folder / "eval.jsonl", [{**test, "step": at, "accuracy": p} for at, p in tested])


def test_runs_by_tokens_are_compared_and_drawn_at_the_same_tokens(folders, tmp_path):
    by_tokens(folders[0], [200, 200], [(0, 0.2), (1, 0.4), (2, 0.6)])
    by_tokens(folders[1], [100, 200, 200], [(0, 0.2), (2, 0.5), (3, 0.6)])  # at 300 and 500
    by_tokens(folders[2], [100] * 4, [(0, 0.2), (2, 0.6), (4, 0.8)])
    by_tokens(folders[3], [400], [(0, 0.2), (1, 0.6)])  # one step spends both parts
    runs = collect(folders)
    figure = figure7(runs, CONFIG, tmp_path / "a.png", tmp_path / "a.pdf")
    lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    assert [line.get_xdata().tolist() for line in lines] == [[0, 200, 400]] * 2
    assert lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.4, (0.6 + 0.55) / 2])
    assert lines[1].get_ydata().tolist() == pytest.approx([0.2, 0.5, 0.7])
    assert figure.axes[0].get_xlabel() == "Rollout tokens"
    figure_cost(runs, CONFIG, tmp_path / "b.png", tmp_path / "b.pdf")
    steps = figure_steps(runs, CONFIG, tmp_path / "c.png", tmp_path / "c.pdf").axes[0]
    assert steps.get_lines()[0].get_xdata().tolist() == [200, 400]
    table = table1(runs, CONFIG, "grpo")
    assert cell(table, "gain", "difference_to_baseline")["mean"] == pytest.approx(0.1)
    assert "final is after 400 generated tokens." in table.attrs["caption"]


def test_pictures_are_the_same_bytes_every_time(folders, tmp_path):
    runs = collect(folders)
    written = []
    for name in ("a", "b"):
        paths = [tmp_path / f"{name}.{kind}" for kind in ("png", "pdf")]
        figure7(runs, CONFIG, *paths)
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert b"CreationDate" not in written[0][1]


def test_curriculum_figure_leaves_out_what_a_method_does_not_log(folders, tmp_path):
    paths = (tmp_path / "curriculum.png", tmp_path / "curriculum.pdf")
    figure = figure_steps(collect(folders), CONFIG, *paths)
    assert [len(axis.get_lines()) for axis in figure.axes] == [2, 2, 2, 1]
    assert figure.axes[3].get_lines()[0].get_ydata().tolist() == [3, 6, 9, 12]
    assert drawn_colours(paths[0]) > 500


def test_how_training_went_is_drawn_from_what_was_logged(folders, tmp_path):
    for folder in folders:
        path = folder / "steps.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        rows = [line | {"response_length": 10.0 * line["step"], "entropy": 0.5} for line in lines]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = (tmp_path / "training.png", tmp_path / "training.pdf")
    figure = figure_steps(collect(folders), CONFIG, *paths, quantities=HEALTH)
    lengths, truncated, entropy, _ = figure.axes
    assert truncated.yaxis.get_major_formatter()(0.0005, 0) == "0.05"  # "0" once, on every tick
    assert lengths.get_lines()[0].get_ydata().tolist() == [10, 20, 30, 40]
    assert [text.get_text() for text in truncated.texts] == ["not logged by these methods"]
    assert set(entropy.get_lines()[1].get_ydata()) == {0.5}


def test_a_column_logged_by_some_seeds_only_is_an_error(folders, tmp_path):
    change(folders[3] / "steps.jsonl", "curriculum/mu", "curriculum/nu")
    paths = (tmp_path / "curriculum.png", tmp_path / "curriculum.pdf")
    with pytest.raises(DataError, match=r"gain/seed1/steps\.jsonl: key 'curriculum/mu'"):
        figure_steps(collect(folders), CONFIG, *paths)


def test_differences_say_whether_they_survive_among_those_of_their_column(tmp_path):
    """Five seeds: one method gains 30 points, one 3 ± 1.0 (p 0.04, of three), one nothing."""
    jitter = (-0.03, -0.01, 0.0, 0.01, 0.03)
    for seed, each in enumerate(jitter):
        write_run(tmp_path, "grpo", seed, [0.2, 0.3, 0.5])
        write_run(tmp_path, "gain", seed, [0.2, 0.3, 0.8 + each])
        write_run(tmp_path, "adarft", seed, [0.2, 0.3, 0.53 + each])
        write_run(tmp_path, "mopps", seed, [0.2, 0.3, 0.5 + each])
    folders = [folder.parent for folder in sorted(tmp_path.glob("**/done.json"))]
    table = table1(collect(folders), CONFIG, "grpo")
    found = {
        method: cell(table, method, "difference_to_baseline")
        for method in ("gain", "adarft", "mopps")
    }
    p = scipy.stats.ttest_1samp(0.03 + np.array(jitter), 0).pvalue
    assert found["adarft"]["p"] == pytest.approx(p)
    assert found["adarft"]["adjusted"] == pytest.approx(p * 3 / 2)
    assert {name: row["survives"] for name, row in found.items()} == {
        "gain": "yes",
        "adarft": "no",
        "mopps": "no",
    }
    assert set(table[table["metric"] == "final_accuracy"]["survives"]) == {""}
    write_table(table, tmp_path / "t.csv")
    text = (tmp_path / "t.md").read_text()
    assert "+30.0 [+27.2, +32.8]†" in text
    assert "+3.0 [+0.2, +5.8] |" in text
    assert "†: still differs from 0 among the 3 differences of its column" in text
