"""Pass rates and scores are measured in shards, and go on where a job was killed."""

import json
import os
import subprocess
import sys

import pytest
from ordered_files import COUNT, records

from gainrl import cli
from gainrl.evaluation.engines import TransformersEngine
from gainrl.grading import Grade
from gainrl.signals.prefill import Prefill

RATES = ("--model", "model", "--samples", "3", "--max-response", "6", "--engine", "transformers")


class Even:
    """Finds half of all answers right: a model that was never trained has no right one."""

    version = "even"

    def __call__(self, responses, golds):
        return [Grade(sum(map(ord, text)) % 2 == 0, text, "by its letters") for text in responses]


@pytest.fixture
def guessed(folder, monkeypatch):
    """A file of twelve questions whose answers are right at random."""
    rows = records()[:12]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("gainrl.ordering.order.find", lambda _: Even())


@pytest.mark.usefixtures("guessed")
def test_pass_rates_do_not_depend_on_shards_or_on_a_kill(ordered, folder, monkeypatch):
    _, whole = ordered("train.jsonl", "--by", "pass-rate", *RATES)
    assert len({row["gainrl_value"] for row in whole}) > 2
    assert not (folder / "ordered.jsonl.parts").exists()
    (folder / "ordered.jsonl").unlink()
    command = ["order", "train.jsonl", "--by", "pass-rate", *RATES, "--out", "ordered.jsonl"]
    command += ["--shards", "3"]
    assert cli.main([*command, "--shard", "1"]) == 0
    assert not (folder / "ordered.jsonl").exists()

    answers, asked = TransformersEngine.answers, []

    def killed(self, requests, sampling, seed):
        asked.append(len(requests))
        yield next(answers(self, requests, sampling, seed))
        raise KeyboardInterrupt

    monkeypatch.setattr(TransformersEngine, "answers", killed)
    monkeypatch.setattr("gainrl.ordering.measure.ANSWERED_AT_ONCE", 3)
    with pytest.raises(KeyboardInterrupt):
        cli.main([*command, "--shard", "0"])

    def counted(self, requests, sampling, seed):
        asked.append(len(requests))
        yield from answers(self, requests, sampling, seed)

    monkeypatch.setattr(TransformersEngine, "answers", counted)
    assert cli.main(command) == 0
    assert asked == [12, 9, 12]  # what is left of shard 0, and shard 2; shard 1 is there
    again = [json.loads(line) for line in (folder / "ordered.jsonl").read_text().splitlines()]
    assert again == whole


@pytest.mark.usefixtures("guessed")
@pytest.mark.parametrize("shard", [(), ("--shards", "3", "--shard", "1")])
def test_two_calls_never_measure_the_same_at_a_time(folder, monkeypatch, capsys, shard):
    command = [
        "order",
        "train.jsonl",
        "--by",
        "pass-rate",
        *RATES,
        "--out",
        "ordered.jsonl",
        *shard,
    ]
    answers, said = TransformersEngine.answers, []

    def meanwhile(self, requests, sampling, seed):
        other = [sys.executable, "-m", "gainrl.cli", *command]
        done = subprocess.run(other, capture_output=True, text=True, timeout=120, check=False)
        said.append((done.returncode, done.stderr))
        yield from answers(self, requests, sampling, seed)

    monkeypatch.setattr(TransformersEngine, "answers", meanwhile)
    assert cli.main(command) == 0, capsys.readouterr().err
    ((code, line),) = said
    assert code == 2, line
    process = f"process {os.getpid()} is at this work already; wait for it or end it"
    assert line.splitlines()[-1].endswith(process)
    assert (folder / "ordered.jsonl").exists() != bool(shard)
    assert not list(folder.rglob("*.owner.json*"))


@pytest.mark.usefixtures("guessed")
def test_pass_rates_sort_and_drop(ordered):
    _, found = ordered("train.jsonl", "--by", "pass-rate", *RATES)
    rates = [row["gainrl_value"] for row in found]
    assert rates == sorted(rates, reverse=True)
    assert {0.0, 1.0} < set(rates)
    flags = ("--by", "angle", *RATES, "--drop-impossible", "--drop-solved")
    said, left = ordered("train.jsonl", *flags)
    assert f"dropped: {rates.count(1.0)} always solved (--drop-solved)\n" in said
    assert f"dropped: {rates.count(0.0)} never solved (--drop-impossible)\n" in said
    mixed = {row["id"] for row in found if 0 < row["gainrl_value"] < 1}
    assert {row["id"] for row in left} == mixed


def test_gold_answers_are_read_and_graded(ordered, folder):
    rows = [{**row, "answer": f"first 1, then #### {place}"} for place, row in enumerate(records())]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    _, found = ordered("train.jsonl", "--by", "pass-rate", *RATES)
    assert {row["gainrl_value"] for row in found} <= {0.0, 1 / 3, 2 / 3, 1.0}
    (folder / "train.jsonl").write_text(json.dumps({**rows[0], "answer": "\\boxed{1} \\boxed{2}"}))
    line = ordered("train.jsonl", "--by", "pass-rate", *RATES, code=2)
    assert line == "train.jsonl: line 1: 'answer' has 2 different boxes; give the answer alone"


def test_scores_go_on_where_a_job_was_killed_and_are_those_of_one_run(ordered, folder, monkeypatch):
    monkeypatch.setattr("gainrl.ordering.measure.token_budget", lambda *_: 48)
    _, whole = ordered("train.jsonl", "--by", "angle", "--model", "model")
    score, made = Prefill._score, []

    def counted(self, *arguments):
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(arguments[4])
        return score(self, *arguments)

    monkeypatch.setattr(Prefill, "_score", counted)
    command = ["order", "train.jsonl", "--by", "angle", "--model", "model", "--out", "o.jsonl"]
    with pytest.raises(KeyboardInterrupt):
        cli.main(command)
    assert not (folder / "o.jsonl").exists()
    made_before = made.copy()
    made.clear()
    monkeypatch.setattr(Prefill, "_score", lambda self, *a: made.append(a[4]) or score(self, *a))
    assert cli.main([*command, "--shards", "2", "--shard", "1"]) == 0
    shard = made.copy()
    assert cli.main(command) == 0
    assert made
    assert not set(made_before) & set(made)
    assert len(set(made)) == len(made)  # the last call scored no batch of the shard again
    assert {sum(number) % 2 for number in shard} == {1}
    again = [json.loads(line) for line in (folder / "o.jsonl").read_text().splitlines()]
    assert again == whole
    assert len(again) == COUNT
    assert not (folder / "o.jsonl.parts").exists()


def test_other_questions_do_not_take_the_parts_of_a_killed_job(ordered, folder):
    flags = ("--by", "angle", "--model", "model")
    assert cli.main(["order", "train.jsonl", *flags, "--out", "ordered.jsonl", "--shard", "0"]) == 0
    rows = [{**row, "question": row["question"].replace("+", "-")} for row in records()]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, found = ordered("train.jsonl", *flags)
    (folder / "fresh.jsonl").write_text((folder / "train.jsonl").read_text())
    _, fresh = ordered("fresh.jsonl", *flags)
    assert found == fresh
