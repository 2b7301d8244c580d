"""The signal table and its report: rows, notes, verdicts and files."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from signal_numbers import KEY, cell, frame, rng, table_of

from gainrl.errors import DataError
from gainrl.study.table import COLUMNS, partial_spearman, signal_table, verdict, write_signal

# --- table ---------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_signal_quantity_and_control():
    table = table_of(frame())
    assert list(table.columns) == COLUMNS
    pairs = [("tokens", ""), ("pass_rate", ""), ("pass_rate", "tokens")]
    rows = list(table[["signal", "quantity", "given"]].itertuples(index=False, name=None))
    assert rows == [(signal, *pair) for signal in ("c", "c_intra", "c_inter") for pair in pairs]
    assert set(zip(table["model"], table["dataset"], strict=True)) == {KEY}
    assert (table["n"] == 120).all()
    assert (table["note"] == "").all()


def test_the_numbers_are_those_of_the_columns():
    made = frame(difficulty=rng(9).normal(size=120))
    table = table_of(made)
    c, tokens, rate = made["c"], made["tokens"], made["pass_rate"]
    assert cell(table, quantity="tokens").rho == pytest.approx(scipy.stats.spearmanr(c, tokens)[0])
    assert cell(table, "c_intra", "difficulty").rho == pytest.approx(
        scipy.stats.spearmanr(made["c_intra"], made["difficulty"])[0]
    )
    fixed = cell(table, given="tokens")
    assert fixed.rho == partial_spearman(c, rate, tokens) != cell(table).rho
    assert fixed.low < fixed.rho < fixed.high


def test_a_row_does_not_depend_on_which_other_rows_there_are():
    alone = table_of(frame())
    difficulty, extra = rng(9).normal(size=(2, 120))
    full = signal_table(
        {("other", "word"): frame(30), KEY: frame(difficulty=difficulty, c_pre_norm=extra)},
        *(200, 0.95, 0),
    )
    joined = alone.merge(full, on=COLUMNS, how="left", indicator=True)
    assert (joined["_merge"] == "both").all()
    assert len(full) == 9 + 4 * 5


def test_the_seed_moves_the_limits_and_nothing_else():
    one, same, other = (table_of(frame(), seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, same)
    assert (one["rho"] == other["rho"]).all()
    assert (one["low"] != other["low"]).all()


def test_each_row_has_resamples_of_its_own():
    table = table_of(frame(c_inter=frame()["c"]))
    assert cell(table, "c").rho == cell(table, "c_inter").rho
    assert cell(table, "c").low != cell(table, "c_inter").low


def test_prompts_without_a_value_are_left_out_and_counted():
    released = frame()["c"].to_numpy(copy=True)
    released[[3, 50]], released[7] = math.nan, math.inf
    made = frame(c_released=released)
    row = cell(table_of(made), "c_released", given="tokens")
    kept = made.drop(index=[3, 7, 50])
    assert row.n == 117
    assert row.note == "c_released: 3 of 120 prompts have no value"
    assert row.rho == partial_spearman(kept["c_released"], kept["pass_rate"], kept["tokens"])
    assert cell(table_of(made), "c", given="tokens").n == 120


def test_c_itself_may_lack_a_value():
    """The released script divides by zero for some prompts."""
    c = frame()["c"].to_numpy(copy=True)
    c[0] = math.nan
    row = cell(table_of(frame(c=c)))
    assert (row.n, row.note) == (119, "c: 1 of 120 prompts have no value")


def test_gradient_norms_of_a_sample_say_how_many_are_zero():
    norm = np.full(120, math.nan)
    norm[:40] = rng(4).uniform(0.1, 1, 40)
    norm[:6] = 0
    row = cell(table_of(frame(gradient_norm=norm)), quantity="gradient_norm")
    assert row.n == 40
    assert row.note == (
        "gradient_norm: 80 of 120 prompts have no value; "
        "gradient_norm: 6 of 40 prompts whose group has zero variance count as 0"
    )


def test_what_has_no_correlation_says_why():
    tokens = frame()["tokens"]
    made = frame(pass_rate=0.0, c_inter=-1.0 * tokens, c_released=math.nan, difficulty=tokens / 9)
    table = table_of(made)
    assert math.isnan(cell(table).rho)
    assert cell(table).note == "pass_rate: constant"
    assert cell(table, "c_inter", "tokens").rho == -1
    fixed = cell(table, "c_inter", "difficulty", "tokens")
    assert math.isnan(fixed.rho)
    assert fixed.note.endswith("no residual, one has the order of tokens")
    lacking = cell(table, "c_released", "tokens")
    assert (lacking.n, lacking.note) == (0, "c_released: 120 of 120 prompts have no value")


def test_undefined_resamples_and_few_prompts_are_noted():
    rate = np.zeros(120)
    rate[0] = 1
    row = cell(table_of(frame(pass_rate=rate)), given="tokens")
    assert math.isfinite(row.rho)
    assert math.isnan(row.low)
    assert row.note.startswith("c and pass_rate given tokens: no interval, ")
    assert row.note.endswith(" of 200 resamples undefined")
    small = cell(table_of(frame(12)), quantity="tokens")
    assert small.note == "c and tokens: interval too narrow at 12 prompts"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="c_inter"), "nano/chain: .*no column 'c_inter'"),
        (lambda f: f.drop(columns="tokens"), "nano/chain: .*no column 'tokens'"),
        (lambda f: f.assign(c_new=1.0), "nano/chain: unknown column 'c_new'"),
        (lambda f: f.assign(c="high"), "nano/chain: column 'c' is not of kind float"),
        (lambda f: f.assign(id="p0"), "nano/chain: row 1 repeats the id 'p0'"),
        (lambda f: f.assign(pass_rate=f.index / 100), r"row 101: column 'pass_rate' is 1\.01"),
        (lambda f: f.assign(gradient_norm=-1.0), "nano/chain: row 0: column 'gradient_norm' is -1"),
        (lambda f: f[:0], "nano/chain: no prompts"),
    ],
)
def test_a_wrong_frame_is_named_with_its_column(change, message):
    with pytest.raises(DataError, match=message) as caught:
        table_of(change(frame()))
    assert "\n" not in str(caught.value)


def test_no_frames_no_table():
    with pytest.raises(DataError, match="no signals"):
        signal_table({}, 200, 0.95, 0)


# --- report --------------------------------------------------------------------------------------


def rows_of(**cells):
    """A table of C alone; cells: quantity or quantity_fixed -> (rho, low, high)."""
    rows = []
    for name, numbers in cells.items():
        quantity, given = name.removesuffix("_fixed"), "tokens" if name.endswith("_fixed") else ""
        rows.append([*KEY, "c", quantity, given, *numbers, 256, ""])
    return pd.DataFrame(rows, columns=COLUMNS)


LENGTH = (-0.9, -0.95, -0.85)
UP, DOWN, NONE = (0.3, 0.2, 0.4), (-0.3, -0.4, -0.2), (0.05, -0.1, 0.2)


def test_the_verdict_is_made_from_the_numbers():
    cells = {"tokens": LENGTH, "pass_rate": UP, "pass_rate_fixed": (0.2, 0.1, 0.3)}
    cells |= {"gradient_norm": DOWN, "gradient_norm_fixed": NONE}
    assert verdict(rows_of(**cells)) == [
        "nano on chain: C goes with prompt length, rho = -0.90 [-0.95, -0.85], n = 256, which "
        "accounts for 81.0% of the variance of C's ranks. "
        "C goes with the pass rate, rho = 0.30 [0.20, 0.40], n = 256; at equal length it still "
        "does, rho = 0.20 [0.10, 0.30]. "
        "C goes with the gradient norm, rho = -0.30 [-0.40, -0.20], n = 256; at equal length no "
        "relation is established, rho = 0.05 [-0.10, 0.20]."
    ]


@pytest.mark.parametrize(
    ("plain", "fixed", "wanted"),
    [
        (DOWN, DOWN, "C goes with the pass rate, .*; at equal length it still does, rho = -0.30"),
        (UP, DOWN, "C goes with .*; at equal length it does in the opposite direction, rho = -0.3"),
        (NONE, UP, "No relation of C with the pass rate is .*; at equal length it does, rho = 0.3"),
        (NONE, NONE, "No relation .*; at equal length no relation is established, rho = 0.05"),
        (UP, (0.3, 0.0, 0.4), r"at equal length no relation is established, rho = 0.30 \[0.000, "),
        (UP, (0.3, math.nan, math.nan), r"no relation is established, rho = 0.30 \(no interval\)"),
        (UP, (math.nan,) * 3, "at equal length none is defined"),
        ((math.nan,) * 3, (math.nan,) * 3, r"Whether C goes with the pass rate cannot be said"),
    ],
)
def test_the_verdict_follows_the_interval(plain, fixed, wanted):
    (text,) = verdict(rows_of(tokens=NONE, pass_rate=plain, pass_rate_fixed=fixed))
    assert pd.Series([text]).str.contains(wanted).all()
    assert "No relation of C with prompt length is established, rho = 0.05" in text
    assert "variance" not in text
    assert text.endswith("The gradient norm was not measured.")


def test_the_verdict_finds_what_the_data_have():
    """The pass rate follows length and nothing else; the gradient norm follows C itself."""
    made = frame(400)
    draw = rng(6)
    made["pass_rate"] = (
        np.clip(np.round(10 - made["tokens"] / 8 + draw.normal(0, 1, 400)), 0, 8) / 8
    )
    made["gradient_norm"] = np.exp((made["c"] + made["tokens"]) / 5 + draw.normal(0, 0.5, 400))
    (text,) = verdict(table_of(made))
    assert "C goes with prompt length, rho = -0.9" in text
    rate, norm = text.split("the pass rate, ")[1].split(". ")[:2]
    assert "at equal length no relation is established" in rate
    assert "at equal length it " in norm
    assert "established" not in norm.split("; ")[1]


def test_one_verdict_for_each_model_and_data_set():
    keys = [("b", "word"), ("a", "word"), ("a", "chain")]
    texts = verdict(signal_table({key: frame(40) for key in keys}, 50, 0.95, 0))
    assert [text.split(":")[0] for text in texts] == ["b on word", "a on word", "a on chain"]


def test_the_files_hold_the_sentences_and_the_table(tmp_path):
    released = frame()["c"].to_numpy(copy=True)
    released[:3] = math.nan
    table = table_of(frame(c_released=released, difficulty=0.5))
    write_signal(table, tmp_path / "results/signal.csv", "Signal and length")
    lines = (tmp_path / "results/signal.md").read_text().splitlines()
    assert lines[0] == "Signal and length"
    assert lines[2] == f"- {verdict(table)[0]}"
    assert lines[4] == "**nano on chain**"
    assert lines[6] == (
        "| Signal | Length (n = 120) | Difficulty (n = 120) | Difficulty given length (n = 120) "
        "| Pass rate (n = 120) | Pass rate given length (n = 120) |"
    )
    assert [line.split(" | ")[0] for line in lines[8:12]] == [
        *("| C", "| C_intra", "| C_inter", "| C, released code"),
    ]
    row = cell(table, quantity="tokens")
    shown = f"| C | {row.rho:.2f} [{row.low:.2f}, {row.high:.2f}] | – | – | "
    assert lines[8].startswith(shown)
    assert lines[11].count("(n = 117)") == 3
    assert "(n =" not in lines[8]
    assert lines[13].startswith("Notes: difficulty: constant; c_released: 3 of 120 prompts have no")
    assert lines[13].count("difficulty: constant") == 1
    assert "95% percentile bootstrap over prompts (200 resamples)" in lines[15]
    assert len(lines) == 16
    assert [path.name for path in sorted((tmp_path / "results").iterdir())] == [
        *("signal.csv", "signal.json", "signal.md", "signal.tex"),
    ]


@pytest.mark.filterwarnings("error")
def test_a_csv_that_is_read_again_says_the_same(tmp_path):
    table = table_of(frame())
    write_signal(table, tmp_path / "signal.csv")
    again = pd.read_csv(tmp_path / "signal.csv")
    assert again["note"].isna().all()
    assert verdict(again) == verdict(table)
    pd.testing.assert_frame_equal(
        again.fillna({"given": ""}).drop(columns="note"), table[COLUMNS[:-1]]
    )
    write_signal(again, tmp_path / "again.csv")
    first, second = ((tmp_path / name).read_text() for name in ("signal.md", "again.md"))
    assert first.startswith(second.rstrip("\n"))  # all but the caption
    assert "Notes" not in first


def test_numbers_near_0_and_1_keep_a_third_digit(tmp_path):
    table = rows_of(tokens=(-0.9984, -0.9991, -0.9962), pass_rate=(0.0042, -0.1, 0.1049))
    table["signal"] = "c"
    table = pd.concat([table, rows_of(pass_rate_fixed=NONE)])
    write_signal(table, tmp_path / "signal.csv")
    text = (tmp_path / "signal.md").read_text()
    assert "| C | -0.998 [-0.999, -0.996] | 0.004 [-0.10, 0.10] | 0.05 [-0.10, 0.20] |" in text


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"signal\.csv: cannot write"):
        write_signal(table_of(frame(30)), tmp_path / "file" / "signal.csv")
