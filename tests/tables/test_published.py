"""The paper's printed numbers beside ours, and what a table is told beside its runs."""

import math

import pandas as pd
import pytest
from presets import changed, error_of
from run_folders import cell

from gainrl import plan
from gainrl.errors import ConfigError, DataError
from gainrl.plan import Layout
from gainrl.records import DIFFICULTY, SCORES, write_table
from gainrl.stages.common import Context
from gainrl.tables.facts import table_facts
from gainrl.tables.published import ComparedCell, Ours, differences, load, published_rows

SMALL = "Qwen2.5-0.5B-Instruct"
MATHS = "Qwen2.5-Math-1.5B-Instruct"
SIX = ("gsm8k", "math500", "amc23", "aime24", "olympiadbench", "minerva")


def rows_of(table, paper, differing=()):
    found = ComparedCell("tiny", "mine", "our-gain", "bench", paper, differing)
    return pd.DataFrame(published_rows(table, [found])).set_index("metric")


# --- the numbers ---------------------------------------------------------------------------------


def test_the_printed_numbers_are_all_there():
    frame = pd.DataFrame(load())
    assert list(frame) == ["table", "model", "method", "benchmark", "metric", "value"]
    assert frame.groupby("table").size().to_dict() == {1: 72, 2: 14, 3: 9, 4: 6, 5: 13}
    assert not frame.duplicated(["table", "model", "method", "benchmark", "metric"]).any()


def test_percent_become_shares_and_steps_stay_steps():
    rows = rows_of(3, (SMALL, "gain_ppo", "gsm8k"))
    assert rows["mean"].to_dict() == {
        "published_accuracy": pytest.approx(0.4526),
        "published_steps": 80,
    }
    assert rows["note"].eq("comparable").all()
    assert rows["n"].eq(1).all()
    assert rows[["low", "high"]].isna().all(axis=None)
    assert rows[["model", "dataset", "method", "benchmark"]].iloc[0].tolist() == [
        *("tiny", "mine", "our-gain", "bench"),
    ]


def test_pass_at_8_keeps_its_name():
    rows = rows_of(2, ("Qwen2.5-Coder-3B-Instruct", "gain", "livecodebench"), ("other model",))
    assert rows.loc["published_accuracy", "mean"] == pytest.approx(0.128)
    assert rows.loc["published_pass@8", "mean"] == pytest.approx(0.251)
    assert rows["note"].eq("not comparable: other model").all()


@pytest.mark.parametrize(
    ("model", "method", "printed", "odd"),
    [
        (MATHS, "grpo", 39.95, 39.45),
        ("Qwen2.5-Math-7B-Instruct", "gain", 46.33, 45.99),
        (MATHS, "gain", 42.63, None),
    ],
)
def test_averages_are_as_printed_and_say_where_they_are_odd(model, method, printed, odd):
    row = rows_of(1, (model, method, "average")).loc["published_accuracy"]
    assert row["mean"] == pytest.approx(printed / 100)
    said = f"; printed as {printed}%, though the mean of its row is {odd}%" if odd else ""
    assert row["note"] == f"comparable{said}"


def test_only_two_printed_averages_are_odd():
    averages = pd.DataFrame(load())[
        lambda f: f["benchmark"].eq("average") & f["metric"].eq("pass@1")
    ]
    notes = [
        rows_of(row.table, (row.model, row.method, "average"))["note"].iloc[0]
        for row in averages.itertuples()
    ]
    assert sum("printed as" in note for note in notes) == 2


# --- what differs --------------------------------------------------------------------------------


def ours(**changes):
    same = {"model": SMALL, "trained_on": "gsm8k", "tested_on": ("gsm8k",)}
    return Ours(**{**same, "steps": 200, "prompts": 1024, **changes})


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ()),
        ({"model": None}, ("other model",)),
        ({"trained_on": None}, ("other training data",)),
        ({"tested_on": (None,)}, ("other benchmark",)),
        ({"tested_on": ("minerva",)}, ("other benchmark",)),
        ({"steps": 40, "prompts": 16}, ("40 steps and not 200", "16 prompts a step and not 1024")),
    ],
)
def test_everything_that_differs_is_named(changes, found):
    assert differences(3, SMALL, "gsm8k", ours(**changes)) == found


def test_the_average_needs_all_six_benchmarks():
    same = {"model": MATHS, "trained_on": "deepscaler"}
    assert differences(1, MATHS, "average", ours(**same, tested_on=SIX)) == ()
    assert differences(1, MATHS, "average", ours(**same, tested_on=SIX[:5])) == (
        "other benchmarks",
    )


def test_one_set_of_problems_may_have_two_names():
    twice = ours(trained_on="amc", tested_on=("amc",))
    assert differences(3, SMALL, "amc23", twice) == ()


def test_the_coder_had_half_the_prompts():
    model = "Qwen2.5-Coder-3B-Instruct"
    same = ours(model=model, trained_on="deepcoder", tested_on=("humanevalplus",), prompts=512)
    assert differences(2, model, "humanevalplus", same) == ()


# --- in a preset ---------------------------------------------------------------------------------


PUBLISHED = {"table": 5, "models": {"nano": SMALL}, "benchmarks": {"chain": "gsm8k"}}


def with_published(published, **more):
    data = changed("experiments", "table1", "published", to=published)
    data["experiments"]["table1"].update(more)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_published({"table": 6}), "experiments.table1.published.table"),
        (with_published({"table": 5, "modles": {}}), "did you mean 'models'?"),
        (
            with_published({**PUBLISHED, "models": {"nona": SMALL}}),
            "published.models: the experiment has no 'nona'; did you mean 'nano'?",
        ),
        (
            with_published({**PUBLISHED, "benchmarks": {"gsm": "gsm8k"}}),
            "published.benchmarks: the experiment has no 'gsm'",
        ),
        (
            changed("experiments", "table1", "columns", to=["final", "paper"]),
            "'paper' needs the key 'published'",
        ),
        (
            changed("experiments", "table1", "columns", to=["speed"]),
            "unknown value 'speed'; did you mean 'speedup'?",
        ),
    ],
)
def test_a_wrong_key_is_named(data, message):
    assert message in error_of(data)


def timed(context):
    """Scores and difficulties with the seconds that they took."""
    for dataset in ("chain", "word"):
        folder = context.layout.signals("nano", dataset)
        scores = {"id": ["a"], "n_prefix": [1], "n_question": [1], "c_intra": [1.0]}
        frame = pd.DataFrame({**scores, "c_inter": [1.0]})
        write_table(folder / "scores.parquet", frame, SCORES, {"seconds": 2.5})
        rates = {"id": ["a"], "difficulty": [0.0], "pass_rate": [1.0], "samples": [8]}
        write_table(folder / "difficulty.parquet", pd.DataFrame(rates), DIFFICULTY, {"seconds": 9})


@pytest.fixture
def context(tmp_path):
    data = with_published(PUBLISHED)
    data["experiments"]["table1"]["methods"] = ["grpo", "adarft", "gain"]
    found = Context(plan.load(data), tmp_path)
    timed(found)
    return found


def test_the_facts_of_an_experiment(context):
    facts = table_facts(context, "table1")
    spec = context.preset.models["nano"]
    # embedding, then attention, gated MLP and two norms in each layer, and the last norm
    width, ahead = spec.hidden, spec.feed_forward
    layer = 4 * width**2 + 3 * width * ahead + 2 * width
    assert (facts.parameters["nano"] - spec.layers * layer - width) % width == 0
    seconds = {method: facts.preparation["nano", "chain", method].seconds
               for method in ("grpo", "adarft", "gain")}  # fmt: skip
    assert seconds == {"grpo": 0, "adarft": 9, "gain": 2.5}
    note = facts.preparation["nano", "chain", "gain"].note
    assert note == "prefill scoring, measured once"
    rows = pd.DataFrame(facts.published)
    assert set(rows["dataset"]) == {"chain"}
    gain = cell(rows, "gain", "published_accuracy")
    assert gain["mean"] == pytest.approx(0.5315)
    assert math.isnan(gain["low"])
    assert gain["note"] == (
        "not comparable: other model, other training data, other benchmark, 4 steps and not 200, "
        "8 prompts a step and not 1024"
    )


def test_names_that_the_paper_lacks_are_refused(context):
    for key, wrong, message in (
        ("models", {"nano": "Qwen2.5-0.5B"}, "models: Table 5 of the paper has no 'Qwen2.5-0.5B'"),
        ("methods", {"gain": "gian"}, "methods: Table 5 of the paper has no 'gian'; did you"),
        ("benchmarks", {"chain": "gsm"}, "benchmarks: Table 5 of the paper has no 'gsm'; did you"),
        ("models", {}, "has none of the experiment's cells"),
    ):
        data = with_published({**PUBLISHED, key: wrong})
        other = Context(plan.load(data), context.root)
        with pytest.raises(ConfigError, match=message):
            table_facts(other, "table1")


def test_a_preparation_that_was_not_timed_is_named(context):
    path = context.layout.signals("nano", "word") / "scores.parquet"
    frame = pd.read_parquet(path)
    write_table(path, frame, SCORES)
    with pytest.raises(DataError, match=r"word/scores\.parquet: its metadata has no 'seconds'"):
        table_facts(context, "table1")
    path.unlink()
    with pytest.raises(DataError, match=r"word/scores\.parquet: no such file"):
        table_facts(context, "table1")


def test_the_papers_own_setting_is_comparable(tmp_path):
    data = changed("training", to={"backend": "verl"})
    data["models"]["nano"] = {"source": "hub", "id": f"Qwen/{SMALL}"}
    data["experiments"] = {
        "table5": {"models": ["nano"], "datasets": ["gsm"], "methods": ["grpo", "shuffled"]}
    }
    data["experiments"]["table5"]["published"] = {"table": 5}
    data["methods"]["shuffled"] = {**data["methods"]["gain"], "order": "shuffled"}
    facts = table_facts(Context(plan.load(data), tmp_path), "table5")
    rows = pd.DataFrame(facts.published)
    assert rows[["method", "metric", "mean", "note"]].to_numpy().tolist() == [
        ["grpo", "published_accuracy", pytest.approx(0.4843), "comparable"]
    ]
    assert facts.preparation["nano", "gsm", "shuffled"].seconds == 0


def test_an_experiments_table_reads_what_was_timed():
    preset = plan.load(changed("experiments", "table1", "methods", to=["grpo", "gain"]))
    layout = Layout("small")
    found = plan.preparation(preset, layout, plan.runs(preset, ["table1"]))
    assert found == [layout.signals("nano", name) / "scores.parquet" for name in ("chain", "word")]
    found = plan.preparation(preset, layout, plan.runs(preset, ["table2"]))
    assert found == [
        layout.signals(name, "chain") / "difficulty.parquet" for name in ("nano", "other")
    ]
