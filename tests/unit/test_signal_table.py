"""Rank correlations, their bootstrap and the table of the angle signal, on data made here."""

import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from gainrl.analysis import signal_table as module
from gainrl.analysis.signal_table import (
    COLUMNS,
    partial_spearman,
    rank_interval,
    signal_table,
    spearman,
    verdict,
    write_signal,
)
from gainrl.errors import DataError

BOOTSTRAP = (400, 0.95)
KEY = ("nano", "chain")


def rng(seed=0):
    return np.random.default_rng(seed)


def three(n, seed=0):
    """x and y both follow z, and x and y share something else too; the last has many ties."""
    draw = rng(seed)
    z, shared = draw.normal(size=(2, n))
    x = z + shared + draw.normal(size=n)
    return x, np.round(shared - z + draw.normal(size=n)), np.round(2 * z)


def frame(n=120, seed=0, **columns):
    draw = rng(seed)
    tokens = draw.integers(10, 60, n)
    c = -tokens + draw.normal(0, 5, n)
    made = {
        "id": [f"p{i}" for i in range(n)],
        "tokens": tokens,
        "c": c,
        "c_intra": c + draw.normal(0, 5, n),
        "c_inter": draw.normal(size=n),
        "pass_rate": draw.integers(0, 9, n) / 8,
    }
    return pd.DataFrame({**made, **columns})


def table_of(made, resamples=200, key=KEY, seed=0):
    return signal_table({key: made}, resamples, 0.95, seed)


def cell(table, signal="c", quantity="pass_rate", given=""):
    wanted = {"signal": signal, "quantity": quantity, "given": given}
    found = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


# --- rank correlations ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_spearman_is_scipys_with_and_without_ties(seed):
    x, y, z = three(60, seed)
    assert len(set(y)) < 20
    for one, other in ((x, y), (y, z), (x, z), (x, -x)):
        assert spearman(one, other) == pytest.approx(scipy.stats.spearmanr(one, other)[0])


def test_tied_values_share_their_average_rank():
    # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: sums of products 4.5, of squares 4.5 and 5
    assert spearman([1, 2, 2, 3], [10, 30, 20, 90]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    # ranks 1.5, 1.5, 3.5, 3.5 and 1.5, 3.5, 1.5, 3.5: products 1 - 1 + 1 - 1 = 0
    assert spearman([0, 0, 1, 1], [0, 1, 0, 1]) == 0


def test_only_the_order_counts():
    x, y, z = three(40)
    assert spearman(np.exp(x), y**3) == spearman(x, y)
    assert partial_spearman(np.exp(x), y**3, -np.exp(z)) == pytest.approx(
        partial_spearman(x, y, z), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_partial_is_the_formula_of_the_three_pairwise_correlations(seed):
    x, y, z = three(80, seed)
    xy, xz, yz = (scipy.stats.spearmanr(*pair)[0] for pair in ((x, y), (x, z), (y, z)))
    wanted = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert abs(wanted - xy) > 0.05  # the length does matter here
    assert partial_spearman(x, y, z) == pytest.approx(wanted)


def test_partial_is_the_correlation_of_the_residuals():
    ranks = [scipy.stats.rankdata(column) for column in three(50)]
    design = np.column_stack([np.ones(50), ranks[2]])
    left = [r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in ranks[:2]]
    assert partial_spearman(*three(50)) == pytest.approx(np.corrcoef(*left)[0, 1])


def test_partial_worked_by_hand():
    # rho: xy = 0.8, xz = 0.4, yz = -0.2 (1 - 6 sum d^2 / 60 with sum d^2 = 2, 6, 12)
    x, y, z = [1, 2, 3, 4], [2, 1, 3, 4], [1, 4, 2, 3]
    assert (spearman(x, y), spearman(x, z), spearman(y, z)) == pytest.approx((0.8, 0.4, -0.2))
    assert partial_spearman(x, y, z) == pytest.approx((0.8 + 0.08) / math.sqrt(0.84 * 0.96))


def test_a_relation_that_is_all_length_goes_when_length_is_held_fixed():
    draw = rng(3)
    z = draw.normal(size=4000)
    x, y = z + draw.normal(size=(2, 4000))
    assert spearman(x, y) > 0.4
    assert abs(partial_spearman(x, y, z)) < 0.06


def test_constants_have_no_correlation():
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert math.isnan(spearman([1, 2, 3], [0.3, 0.3, 0.3]))
    assert math.isnan(spearman([1.0], [2.0]))
    assert math.isnan(partial_spearman([1, 1, 1, 1], [1, 2, 4, 3], [1, 3, 2, 4]))


@pytest.mark.parametrize("n", [5, 1052, 5000])  # at 1052, S * S / S < S in floating point
@pytest.mark.parametrize("ties", [False, True])
def test_nothing_is_left_of_what_has_the_order_of_given(n, ties):
    z = rng(1).integers(0, n // 2 + 1, n) if ties else rng(1).permutation(n)
    y = rng(2).normal(size=n)
    for x in (3.7 * z + 0.1, -np.exp(z / n)):
        assert math.isnan(partial_spearman(x, y, z))
        assert math.isnan(partial_spearman(y, x, z))


def test_one_swap_of_neighbours_is_a_residual():
    z = np.arange(2000)
    x = z.copy()
    x[[700, 701]] = x[[701, 700]]
    y = np.zeros(2000)
    y[700] = 1
    # The residual of x is +1 and -1 at the swap, but for rounding, and y points at the first.
    assert partial_spearman(x, y, z) == pytest.approx(math.sqrt(0.5), abs=1e-3)


def test_a_constant_given_holds_nothing_fixed():
    x, y, _ = three(30)
    assert partial_spearman(x, y, np.ones(30)) == spearman(x, y)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([], []), "n > 0"),
        (([1.0, math.nan], [1, 2]), "finite"),
        (([[1.0, 2.0]], [[1, 2]]), "shape"),
        (([1, 2, 3], [1, 2]), "lengths differ: 2 and 3"),
    ],
)
def test_values_that_cannot_be_ranked_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        spearman(*columns)
    with pytest.raises(ValueError, match=message):
        rank_interval(*columns, None, rng(), *BOOTSTRAP)


# --- bootstrap -----------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [False, True])
def test_the_interval_is_that_of_a_plain_loop_over_resamples(held, monkeypatch):
    x, y, z = three(25)
    drawn = []
    for rows in rng(5).integers(25, size=(300, 25)):
        one, other, given = (scipy.stats.rankdata(column[rows]) for column in (x, y, z))
        if held:
            one, other = (r - np.polyval(np.polyfit(given, r, 1), given) for r in (one, other))
        drawn.append(np.corrcoef(one, other)[0, 1])
    for cells in (10**6, 25 * 7):  # at once, or seven resamples at a time and then six
        monkeypatch.setattr(module, "CELLS", cells)
        found = rank_interval(x, y, z if held else None, rng(5), 300, 0.9)
        assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])))
    assert (found.n, found.undefined) == (25, 0)
    assert found.mean == (partial_spearman(x, y, z) if held else spearman(x, y))


@pytest.mark.parametrize("held", [False, True])
def test_the_interval_covers_the_true_value_about_as_often_as_it_says(held):
    """Normal variables: Spearman's rho is 6 / pi asin(r / 2), and the partial one follows."""
    covariance = np.array([[1, 0.5, -0.8], [0.5, 1, -0.3], [-0.8, -0.3, 1]])
    xy, xz, yz = 6 / np.pi * np.arcsin(covariance[[0, 0, 1], [1, 2, 2]] / 2)
    true = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)) if held else xy
    draw, hits, above = rng(11), 0, 0
    for _ in range(300):
        x, y, z = draw.multivariate_normal(np.zeros(3), covariance, 80).T
        found = rank_interval(x, y, z if held else None, draw, 300, 0.9)
        hits += found.low <= true <= found.high
        above += found.low > true
    assert 0.84 <= hits / 300 <= 0.95
    assert 0.01 <= above / 300 <= 0.11


def test_equal_generators_give_equal_intervals_and_others_do_not():
    x, y, z = three(30)
    same = [rank_interval(x, y, z, rng(seed), *BOOTSTRAP) for seed in (7, 7, 8)]
    assert same[0] == same[1]
    assert same[0].low != same[2].low


def test_a_few_undefined_resamples_are_counted():
    y = np.zeros(40)
    y[:4] = 1  # a resample misses all four with probability 0.9^40 = 1.5%
    found = rank_interval(np.arange(40), y, None, rng(), 2000, 0.95)
    assert 10 <= found.undefined <= 55
    assert found.low < found.mean < found.high < 0


def test_too_many_undefined_resamples_leave_no_interval():
    y = np.zeros(40)
    y[0] = 1  # a resample misses it with probability 36%
    found = rank_interval(np.arange(40), y, None, rng(), 2000, 0.95)
    assert found.undefined == pytest.approx(0.363 * 2000, abs=100)
    assert found.mean == spearman(np.arange(40), y)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_correlation_no_interval():
    found = rank_interval(np.ones(9), np.arange(9), None, rng(), *BOOTSTRAP)
    assert math.isnan(found.mean)
    assert math.isnan(found.low)
    assert (found.n, found.undefined) == (9, 400)


def test_many_prompts_fit_in_little_memory():
    x, y, z = three(7500)
    tracemalloc.start()
    try:
        rank_interval(x, y, z, rng(), 500, 0.95)
        assert tracemalloc.get_traced_memory()[1] < 60e6  # all at once it would be 0.5 GB and more
    finally:
        tracemalloc.stop()


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
        *("signal.csv", "signal.md"),
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
