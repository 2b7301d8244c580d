"""Each order of the prompts by hand, and what it says of itself."""

import math

import numpy as np
import pandas as pd
import pytest
from signal_places import KEYS, context_of, signals

from gainrl import plan
from gainrl.errors import DataError
from gainrl.records import ORDER, SCORES, check_table, read_metadata, read_table, write_table
from gainrl.stages.orders import make_order

# --- orders --------------------------------------------------------------------------------------

IDS = list("dbfaec")
TABLE = {
    "n_prefix": 9,
    "n_question": [40, 10, 30, 10, 30, 20],
    "c_intra": [0.5, 0.25, 0.5, 0.75, 0.25, 0.5],
    "c_inter": [0.25, 0.5, 0.25, 0.0, 0.25, 0.5],
    "c_intra_offdiagonal": [0.5, 0.0, 0.25, 0.25, 0.5, 0.75],
    "c": [0.75, 0.75, 0.75, 0.75, 0.5, 1.0],
    "c_released": [0.3, math.nan, 0.9, math.nan, 0.1, 0.3],
}
NOTE = {"model": "abc", "variant": "paper", "tap": "post_norm", "inter_weight": 1.0}
EXACT = {
    "angle": "cabdfe",
    "reversed": "eabdfc",
    "length": "abcefd",
    "released": "abfcde",  # argsort's NaN first; c and d tie
    "offdiagonal": "cdebfa",  # 1.25, 0.75, 0.75, 0.5, 0.5, 0.25
}


def ordered(root, order, table=None, ids=IDS, **scoring):
    """The order's table and metadata."""
    context = context_of(root, **scoring)
    frame = pd.DataFrame({"id": ids, **(TABLE if table is None else table)})
    write_table(signals(root) / "scores.parquet", frame, SCORES, NOTE)
    make_order(context, *KEYS, order)
    target = context.layout.order(*KEYS, order)
    return read_table(target, ORDER), read_metadata(target)


@pytest.mark.parametrize("order", plan.ORDERS)
def test_an_order_ranks_every_prompt_once_and_names_its_scores(tmp_path, order):
    frame, note = ordered(tmp_path, order)
    check_table(frame, ORDER, order)
    assert sorted(frame["id"]) == sorted(IDS)
    assert frame["rank"].tolist() == list(range(6))
    source = signals(tmp_path) / "scores.parquet"
    assert note == {
        "scores": plan.file_digest(source),
        "scores_file": str(source),
        "order": order,
        "scoring": NOTE,
    }


@pytest.mark.parametrize("order", EXACT)
@pytest.mark.parametrize("seed", range(3))
def test_the_order_by_hand_whatever_the_rows_are_in(tmp_path, order, seed):
    place = np.random.default_rng(seed).permutation(6)
    table = {name: np.broadcast_to(column, 6)[place] for name, column in TABLE.items()}
    frame, _ = ordered(tmp_path, order, table, [IDS[i] for i in place])
    assert "".join(frame["id"]) == EXACT[order]


def test_offdiagonal_takes_the_weight_of_the_preset(tmp_path):
    frame, _ = ordered(tmp_path, "offdiagonal", inter_weight=4.0)
    assert "".join(frame["id"]) == "cbdefa"
    assert frame["value"].tolist() == [2.75, 2.0, 1.5, 1.5, 1.25, 0.25]


@pytest.mark.parametrize(("order", "known"), [("angle", "fcde"), ("reversed", "ecdf")])
def test_prompts_without_c_come_first(tmp_path, order, known):
    frame, _ = ordered(tmp_path, order, {**TABLE, "c": TABLE["c_released"]})
    assert frame["id"].tolist() == list("ab" + known)


def test_shuffled_is_fixed_and_like_nothing_else(tmp_path):
    ids = [f"p{i:03}" for i in range(200)]
    table = {"n_prefix": 9, "n_question": 5, "c_intra": 0.5, "c_inter": 0.5, "c": 1.0}
    first, _ = ordered(tmp_path, "shuffled", table, ids)
    again, _ = ordered(tmp_path, "shuffled", table, np.random.default_rng(4).permutation(ids))
    assert first["id"].tolist() == again["id"].tolist() != ids
    assert abs(np.corrcoef(first["id"].str[1:].astype(int), np.arange(200))[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("order", "column"),
    [
        ("angle", "c"),
        ("reversed", "c"),
        ("residual", "c"),
        ("released", "c_released"),
        ("offdiagonal", "c_intra_offdiagonal"),
    ],
)
def test_a_column_that_is_missing_is_named_with_its_file_and_key(tmp_path, order, column):
    table = {name: values for name, values in TABLE.items() if name != column}
    with pytest.raises(DataError) as caught:
        ordered(tmp_path, order, table)
    source = signals(tmp_path) / "scores.parquet"
    assert str(caught.value).startswith(f"{source}: no column '{column}'; ")
    assert "scoring.also" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- residual ------------------------------------------------------------------------------------


def test_residual_worked_by_hand(tmp_path):
    """Ranks of C 2, 1, 4, 3 and of the length 1, 2, 3, 4: slope 3 / 5."""
    table = {"n_prefix": 9, "n_question": [7, 8, 20, 90], "c_intra": 0.0, "c_inter": 0.0}
    frame, _ = ordered(tmp_path, "residual", {**table, "c": [0.2, 0.1, 0.9, 0.3]}, list("wxyz"))
    assert "".join(frame["id"]) == "ywzx"
    assert frame["value"].tolist() == pytest.approx([1.2, 0.4, -0.4, -1.2], abs=1e-12)


@pytest.mark.parametrize("missing", [0, 30])
@pytest.mark.parametrize("seed", range(5))
def test_the_residual_has_no_correlation_with_the_rank_of_the_length(tmp_path, seed, missing):
    """Nor among the prompts that have a value, when short ones have none."""
    draw = np.random.default_rng(seed)
    length = draw.permutation(100) + 10
    c = 30 / length + draw.normal(size=100)
    c[length < 10 + missing] = math.nan
    table = {"n_prefix": 9, "n_question": length, "c_intra": 0.0, "c_inter": 0.0, "c": c}
    ids = [f"p{i}" for i in range(100)]
    frame, _ = ordered(tmp_path, "residual", table, ids)
    assert frame["value"].isna().tolist() == [True] * missing + [False] * (100 - missing)
    given = frame["id"].map(dict(zip(ids, length, strict=True)))[missing:].rank()
    assert abs(np.corrcoef(given, frame["value"][missing:])[0, 1]) < 1e-12
    plain = pd.Series(c, ids)[frame["id"][missing:]].rank()
    assert abs(np.corrcoef(given, plain)[0, 1]) > 1e-3


def test_the_residual_of_prompts_of_one_length_is_the_order_of_c(tmp_path):
    frame, _ = ordered(tmp_path, "residual", {**TABLE, "n_question": 12})
    assert "".join(frame["id"]) == EXACT["angle"]
