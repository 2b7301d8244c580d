"""Pools: the kinds are what they say, in the shares asked for, and leave eval and warm-up alone."""

import re

import pytest
from presets import BASE, changed, error_of

from gainrl import plan
from gainrl.config.data import Generated, Pool
from gainrl.data.generate import LARGEST, generate_splits
from gainrl.data.pools import counts, generated_splits
from gainrl.errors import ConfigError, DataError
from gainrl.records import PROMPTS, check_table, read_table
from gainrl.stages.common import Context
from gainrl.stages.data import prepare_data

DEAD = {"large": 0.25, "long": 0.15, "mislabelled": 0.15, "trivial": 0.15}
LEVELS = {"chain": (1, 2, 3, 4, 5), "word": (1, 2, 3), "story": (1, 2, 3)}
SIZES = {"live": 77, "large": 64, "long": 38, "mislabelled": 39, "trivial": 38}


def spec(task, pool=DEAD, **changes):
    sizes = {"train": 256, "eval": 60, "warmup": 300, "levels": LEVELS[task]}
    return Generated(source="generate", task=task, pool=pool, **{**sizes, **changes})


@pytest.fixture(scope="module", params=LEVELS)
def made(request):
    """The task, its splits without a pool, and with one."""
    task = request.param
    return task, generate_splits(spec(task), "d"), generated_splits(spec(task), "d")


def numbers_of(rows):
    """(start, totals) of each row, by its worked solution."""
    lines = [re.findall(r"(\d+) [+-] \d+ = (\d+)\.", text) for text in rows["solution"]]
    return [(int(row[0][0]), [int(total) for _, total in row]) for row in lines]


# --- how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "size", "expected"),
    [
        (DEAD, 256, SIZES),  # sums .25, .40, .55, .70: 64, 102.4, 140.8 and 179.2 prompts
        ({}, 7, {"live": 7, "large": 0, "long": 0, "mislabelled": 0, "trivial": 0}),
        (
            dict.fromkeys(DEAD, 0.25),  # 0.5, 1, 1.5 and 2, halves to even: no prompt too many
            2,
            {"live": 0, "large": 0, "long": 1, "mislabelled": 1, "trivial": 0},
        ),
        (
            {"large": 0.7, "long": 0.2, "trivial": 0.1},
            1000,
            {"live": 0, "large": 700, "long": 200, "mislabelled": 0, "trivial": 100},
        ),
        (DEAD, 0, dict.fromkeys(SIZES, 0)),
    ],
)
def test_counts_are_rounded_sums_of_the_shares(pool, size, expected):
    assert counts(Pool(**pool), size) == expected


def test_the_train_split_holds_these_counts(made):
    _, _, pooled = made
    assert pooled["train"]["kind"].value_counts().to_dict() == SIZES


# --- what a pool leaves alone --------------------------------------------------------------------


def test_without_a_pool_the_tables_are_those_of_the_task(made):
    task, clean, _ = made
    for split, table in generated_splits(spec(task, pool=None), "d").items():
        assert table.equals(clean[split])
        assert "kind" not in table


def test_a_pool_changes_the_train_split_alone(made):
    _, clean, pooled = made
    for split in ("eval", "warmup"):
        assert pooled[split].equals(clean[split])
        assert pooled[split].columns.equals(clean[split].columns)


def test_live_prompts_are_the_first_of_the_train_split_as_they_were(made):
    _, clean, pooled = made
    shown = ["question", "answer", "difficulty", "category", "solution"]
    live = pooled["train"].loc[lambda rows: rows["kind"] == "live", shown]
    first = clean["train"].loc[: SIZES["live"] - 1, shown]
    assert sorted(live.to_records(index=False).tolist()) == sorted(
        first.to_records(index=False).tolist()
    )


def test_a_data_set_without_a_pool_depends_on_what_it_did_before_there_were_pools():
    def slice_of(data):
        return plan.dataset_slice(plan.load(data), "chain")

    assert "pool" not in slice_of(BASE)
    pools = [changed("datasets", "chain", "pool", to={**DEAD, "large": x}) for x in (0.1, 0.2)]
    assert slice_of(pools[0])["pool"] != slice_of(pools[1])["pool"]


# --- the kinds -----------------------------------------------------------------------------------


def test_prompts_have_ids_and_questions_of_their_own(made):
    _, _, pooled = made
    train = pooled["train"]
    check_table(train, PROMPTS, "test")
    assert train["id"].tolist() == [f"d/train/{row:05d}" for row in range(256)]
    assert train["question"].is_unique
    assert not set(train["question"]) & set(pooled["eval"]["question"])
    taught = train["question"].isin(set(pooled["warmup"]["question"]))
    assert set(train["kind"][taught]) <= {"trivial"}


def test_every_kind_is_what_it_says(made):
    task, clean, pooled = made
    kinds = dict(iter(pooled["train"].groupby("kind")))
    highest = max(LEVELS[task])
    for start, totals in numbers_of(kinds["large"]):
        assert 60 <= start <= 190
        assert all(50 <= total <= LARGEST for total in totals)
    assert set(kinds["large"]["difficulty"]) == set(LEVELS[task])
    assert set(kinds["long"]["difficulty"]) == {highest + more for more in (6, 7, 8, 9)}
    assert set(kinds["trivial"]["difficulty"]) == {1}
    assert kinds["trivial"]["question"].str.fullmatch(r"\d+ [+-] \d = \?").all()
    assert kinds["mislabelled"]["difficulty"].min() == 2  # one operation is left for trivial ones
    for kind in ("long", "trivial"):
        for start, totals in numbers_of(kinds[kind]):
            assert all(0 <= total <= 49 for total in (start, *totals))
    wrong = kinds["mislabelled"].set_index("question")
    right = clean["train"].set_index("question")["answer"]
    off = wrong["answer"].astype(int) - right[wrong.index].astype(int)
    assert off.abs().between(1, 9).all()
    assert off.nunique() > 9
    assert wrong["answer"].astype(int).between(0, 49).all()
    for kind, rows in kinds.items():
        operations = [len(totals) for _, totals in numbers_of(rows)]
        assert operations == rows["difficulty"].tolist()
        assert [f"level {number}" for number in operations] == rows["category"].tolist()
        if kind != "mislabelled":
            assert rows["answer"].tolist() == [str(totals[-1]) for _, totals in numbers_of(rows)]


def test_kinds_do_not_stand_in_blocks(made):
    _, _, pooled = made
    kinds = pooled["train"]["kind"]
    runs = int((kinds != kinds.shift()).sum())
    assert runs > 0.6 * len(kinds)  # 78% are expected of these shares, and 5 runs of blocks


def test_the_same_seed_gives_the_same_pool_and_another_seed_another(made):
    task, _, pooled = made
    assert generated_splits(spec(task), "d")["train"].equals(pooled["train"])
    other = generated_splits(spec(task, seed=1), "d")["train"]
    assert not other["question"].equals(pooled["train"]["question"])
    assert not other["kind"].equals(pooled["train"]["kind"])


@pytest.mark.parametrize("task", LEVELS)
def test_large_pools_can_be_drawn(task):
    train = generated_splits(spec(task, train=2048, eval=192), "d")["train"]
    assert len(train) == 2048
    assert train["question"].is_unique


# --- through the stages --------------------------------------------------------------------------


def test_the_kind_is_written_and_a_mix_keeps_it(tmp_path):
    data = changed("datasets", "chain", "pool", to=DEAD)
    data["datasets"]["both"] = {"source": "mix", "parts": ["chain", "word"]}
    context = Context(plan.load(data), tmp_path)
    prepare_data(context, "both")
    kinds = read_table(context.layout.split("both", "train"), PROMPTS)["kind"]
    assert kinds[:32].value_counts()["large"] == 8
    assert kinds[32:].isna().all()


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"large": 0.6, "long": 0.5}, "datasets.chain.pool: the shares add up to 1.1, more than 1"),
        ({"large": -0.1}, "datasets.chain.pool.large: "),
        ({"larg": 0.1}, "unknown key 'datasets.chain.pool.larg'; did you mean 'large'?"),
    ],
)
def test_wrong_shares_are_refused(pool, message):
    assert message in error_of(changed("datasets", "chain", "pool", to=pool))


def test_programs_have_no_pool():
    data = changed("datasets", "word", "task", to="code")
    data["datasets"]["word"]["pool"] = DEAD
    assert "datasets.word.pool: the task 'code' has no pool" in error_of(data)
    with pytest.raises(ConfigError, match=r"datasets\.d\.pool: the task 'code' has no pool"):
        generated_splits(Generated(source="generate", task="code", pool=DEAD), "d")


def test_more_trivial_prompts_than_there_are_is_an_error():
    with pytest.raises(DataError, match="data set 'd', pool: fewer than 500 distinct trivial"):
        generated_splits(spec("chain", train=500, pool={"trivial": 1}, levels=(3,)), "d")
