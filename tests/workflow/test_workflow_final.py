"""Final models and models as they are, tested under a protocol by the workflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import Project, jobs_in

from gainrl import plan
from gainrl.errors import DataError
from gainrl.plan.benchmarks import Test as ProtocolTest
from gainrl.records import read_json, read_lines
from gainrl.stages import benchmark
from gainrl.stages.common import Context

pytestmark = pytest.mark.timeout(1200)
START = "results/tiny/evals/nano/benchmarks/chain/four-transformers"
SAMPLES = 4


def with_protocol(preset):
    """Two seeds of the tiny preset with tests of final models, and of the start model."""
    preset["seeds"] = [0, 1]
    preset["protocols"] = {
        "four": {"samples": SAMPLES, "temperature": 1.0, "top_p": 0.9, "pass_at": [1, 4]}
    }
    preset["experiments"]["final"] = {
        "models": ["nano"], "datasets": ["chain"], "methods": ["grpo", "gain"], "final": ["four"],
    }  # fmt: skip
    preset["benchmarks"] = {"models": ["nano"], "benchmarks": ["chain"], "protocols": ["four"]}


@pytest.fixture(scope="module")
def made(project) -> Iterator[Project]:
    written = project.folder / "results/tiny/preset.json"
    before = written.read_bytes()
    preset = project.edited(with_protocol)
    done = project.snakemake("results/tiny/final.csv", "results/tiny/benchmarks.csv", preset=preset)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert jobs_in(output) == {"benchmark": 5, "make_benchmarks": 1, "make_final": 1}
    yield project
    written.write_bytes(before)


def samples(project: Project, folder: str = START) -> pd.DataFrame:
    return pd.read_parquet(project.folder / folder / "samples.parquet")


def by_seed(project: Project, method: str) -> np.ndarray:
    """(seeds, problems) shares of right samples."""
    folders = [
        f"results/tiny/runs/nano/chain/{method}/seed{seed}/benchmarks/chain/four-transformers"
        for seed in (0, 1)
    ]
    return np.stack(
        [samples(project, folder).groupby("id")["correct"].mean() for folder in folders]
    )


def test_every_sample_is_kept_with_what_was_asked_and_why_it_is_right_or_wrong(made):
    table = samples(made)
    assert len(table) == 16 * SAMPLES
    assert table.groupby("id")["sample"].agg(list).map(lambda each: each == [0, 1, 2, 3]).all()
    assert table.groupby("id")["prompt"].nunique().eq(1).all()
    assert table["prompt"].nunique() == 16
    assert (table["token_ids"].map(len) == table["tokens"]).all()
    assert table["reason"].notna().all()
    answered = table[table["extracted"].notna()]
    gold = pd.read_parquet(made.folder / "results/tiny/data/chain/eval.parquet")
    right = answered["extracted"] == answered["id"].map(gold.set_index("id")["answer"])
    assert (right.astype(int) == answered["correct"]).all()


def test_a_score_says_what_it_depends_on(made):
    score = read_json(made.folder / START / "score.json")
    about = read_json(made.folder / "results/tiny/models/nano/gainrl.json")
    assert score["weights"] == about["weights"]
    assert score["engine"].startswith("transformers ")
    assert score["grader"].startswith("maths ")
    assert score["sampling"] == {"temperature": 1.0, "top_p": 0.9, "max_tokens": 24}
    assert score["metrics"]["pass@1"] == pytest.approx(samples(made)["correct"].mean())
    some = samples(made).groupby("id")["correct"].max().mean()
    assert score["metrics"]["pass@4"] == pytest.approx(some)
    for key in ("template", "data", "draws", "seed", "versions", "commit"):
        assert score[key], key


def test_the_table_keeps_intervals_over_problems_and_over_seeds_apart(made):
    table = pd.read_csv(made.folder / "results/tiny/final.csv")
    rows = table[table["metric"].str.startswith("four/")].set_index(["method", "metric"])
    base, gain = by_seed(made, "grpo"), by_seed(made, "gain")
    for method, values in (("grpo", base), ("gain", gain)):
        problems, seeds = rows.loc[method, "four/pass@1"], rows.loc[method, "four/pass@1, seeds"]
        assert problems["mean"] == seeds["mean"] == pytest.approx(values.mean())
        assert (problems["n"], seeds["n"]) == (16, 2)
        assert problems["note"].startswith("over problems; protocol four: 4 samples")
        assert seeds["note"].startswith("over seeds; ")
        ends = sorted(values.mean(1))  # of two seeds: their range
        assert [seeds["low"], seeds["high"]] == pytest.approx(ends)
    difference = rows.loc["gain", "four/pass@1, difference"]
    assert difference["mean"] == pytest.approx((gain - base).mean())
    assert difference["low"] <= difference["mean"] <= difference["high"]
    assert rows.loc["start", "four/pass@1"]["mean"] == pytest.approx(
        samples(made)["correct"].mean()
    )
    assert ("grpo", "four/pass@1, difference") not in rows.index
    text = (made.folder / "results/tiny/final.md").read_text()
    assert "final models, protocol four" in text
    assert "| Start model | " in text


def test_the_table_of_models_as_they_are(made):
    table = pd.read_csv(made.folder / "results/tiny/benchmarks.csv").set_index("metric")
    assert table.loc["pass@1", "mean"] == pytest.approx(samples(made)["correct"].mean())
    assert table.loc["pass@1", "engine"] == "transformers"
    assert table.loc["pass@1", "n"] == 16
    assert set(table.index) == {"pass@1", "pass@4", "avg@4", "maj@4", "truncated", "without_answer"}


def test_shards_give_the_same_answers_as_one_job(made):
    whole = samples(made)

    def sharded(preset):
        with_protocol(preset)
        preset["testing"] = {"shards": 3, "batch": 8}

    done = made.snakemake(
        f"{START}/score.json", "--forcerun", "benchmark", preset=made.edited(sharded)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_in(done.stdout + done.stderr) == {"benchmark": 1, "benchmark_shard": 3}
    pd.testing.assert_frame_equal(samples(made), whole)
    left = sorted(path.name for path in (made.folder / START).iterdir())
    assert left == ["benchmark.tracking.json", "samples.parquet", "score.json"]


@pytest.fixture
def start(made, monkeypatch):
    monkeypatch.chdir(made.folder)
    preset = plan.load(made.edited(with_protocol))
    context = Context(preset, Path("results"))
    return context, ProtocolTest("nano", "chain", "four", "transformers")


def test_what_is_there_is_not_generated_again(made, start, capsys):
    context, test = start
    whole = samples(made)
    benchmark.generate(context, test)
    part = made.folder / START / "parts/0-of-1.jsonl"
    text = part.read_bytes()
    part.write_bytes(text[: len(text) // 2])  # as a kill would leave it, in the middle of a line
    kept = sum("row" in row for row in read_lines(part))
    assert 0 < kept < 16 * SAMPLES
    with pytest.raises(DataError, match="answers are missing"):
        benchmark.collect(context, test)
    benchmark.generate(context, test)
    again = part.read_bytes()
    assert sum("row" in row for row in read_lines(part)) == 16 * SAMPLES  # and none of them twice
    benchmark.generate(context, test)  # nothing is left to do
    assert part.read_bytes() == again
    benchmark.collect(context, test)
    pd.testing.assert_frame_equal(samples(made), whole)
    capsys.readouterr()


def test_answers_of_another_configuration_are_not_gone_on_with(made, start):
    context, test = start
    benchmark.generate(context, test)
    part = made.folder / START / "parts/0-of-1.jsonl"
    lines = part.read_text().splitlines()
    head = {**json.loads(lines[0]), "weights": "others"}
    part.write_text("\n".join([json.dumps(head), *lines[1:]]) + "\n")
    with pytest.raises(DataError, match="64 answers are missing"):
        benchmark.collect(context, test)
    benchmark.generate(context, test)
    benchmark.collect(context, test)


def test_the_answers_behind_a_number_are_shown(made):
    table = samples(made)
    name = table["id"].iloc[5 * SAMPLES]
    done = made.call("gainrl", "show", START, "--problem", name)
    assert done.returncode == 0, done.stderr
    rows = table[table["id"] == name]
    assert done.stdout.count("] right") == rows["correct"].sum()
    assert done.stdout.count("] wrong") == SAMPLES - rows["correct"].sum()
    for text in rows["response"]:
        assert text in done.stdout
    assert "gold: " in done.stdout
    short = name.rpartition("/")[2].lstrip("0")
    again = made.call("gainrl", "show", START, "--problem", short)
    assert again.stdout == done.stdout
    every = made.call("gainrl", "show", "results/tiny/evals/nano", "--problem", name)
    assert every.stdout.count("] ") > SAMPLES  # those of the test at step 0 too


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("results/tiny/evals/nano", "--problem", "999999"), "no problem '999999'; ids look like"),
        (("results/tiny/evals", "--problem", "1"), "no sample tables there"),
        (
            ("results/tiny/evals/nano", "--problem", "1", "--benchmark", "other"),
            "no sample tables of benchmark 'other' there",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_line(made, arguments, said):
    done = made.call("gainrl", "show", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_tests_are_in_the_store(made):
    done = made.call("gainrl", "tracking", "check", "--preset", made.edited(with_protocol))
    assert (done.returncode, done.stderr) == (0, "")
