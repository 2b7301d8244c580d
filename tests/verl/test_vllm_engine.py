"""vLLM as an engine of tests: the same greedy answers as transformers, resumed and watched."""

from __future__ import annotations

import json
from dataclasses import replace

import place as places
import pytest
from ordered_files import records

from gainrl import cli, plan
from gainrl.config.models import Nano
from gainrl.errors import BackendError
from gainrl.evaluation.engines import AnswerRequest, TransformersEngine
from gainrl.evaluation.vllm_engine import VllmEngine
from gainrl.grading import Grade
from gainrl.models.loading import folder_ends, load_model, load_tokenizer
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.models.sampling import Sampling
from gainrl.records import read_lines, write_text
from gainrl.stages import difficulty, prepare
from gainrl.stages.common import Context
from gainrl.stages.data import prepare_data
from gainrl.stages.prompts import choose_prompts
from gainrl.stages.tracking import initialise_tracking

pytestmark = [pytest.mark.verl, pytest.mark.timeout(600)]
GREEDY, WARM = Sampling(0.0, 1.0, 20), Sampling(1.0, 0.9, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    path = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(path)
    spec = Nano(source="nano", hidden=64, layers=2, heads=2, feed_forward=64)
    network = build_model(spec, len(tokenizer))
    network.generation_config.eos_token_id = [1, *range(60, 80)]
    network.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def requests(folder):
    tokenizer = load_tokenizer(folder)
    questions = ["2 + 3 = ?", "17 + 5 - 9 = ?", "4 + 4 + 4 + 4 = ?", "9 - 1 = ?", "5 + 5 = ?"]
    return [
        AnswerRequest(row, f"chain/eval/{row}", tokenizer(question)["input_ids"], sample)
        for row, question in enumerate(questions)
        for sample in range(3)
    ]


def answers(engine, requests, sampling, seed=1):
    return [answer for found in engine.answers(requests, sampling, seed) for answer in found]


@pytest.fixture
def engine(folder, tmp_path):
    return VllmEngine(
        places.PYTHON,
        folder,
        folder_ends(folder, load_tokenizer(folder)),
        {"dtype": "auto", "max_model_len": 64, "enforce_eager": True},
        {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"},
        tmp_path / "vllm.log",
        300.0,
    )


def test_greedy_answers_are_those_of_transformers(folder, engine, requests):
    ours = TransformersEngine(load_model(folder), load_tokenizer(folder), 64)
    expected = {(a.row, a.sample): a for a in answers(ours, requests, GREEDY)}
    found = {(a.row, a.sample): a for a in answers(engine, requests, GREEDY)}
    assert found == expected
    assert engine.version.startswith("vllm ")
    assert engine.draws == "by seed and the order of requests"  # on a CPU


def test_samples_are_the_same_for_the_same_seed_and_requests(engine, requests):
    one = [answers(engine, requests, WARM, seed) for seed in (1, 1, 2)]
    assert one[0] == one[1] != one[2]
    assert {(a.row, a.sample) for a in one[0]} == {(r.row, r.sample) for r in requests}
    assert {answer.ended for answer in one[0]} == {True, False}
    for answer in one[0]:
        assert answer.ended == (answer.tokens[-1] in engine.ends)


def test_a_failure_names_the_log_and_the_error(engine, requests, tmp_path):
    wrong = replace(engine, folder=tmp_path / "nowhere")
    with pytest.raises(BackendError, match=r"vllm\.log: vLLM exited with code 1; error: "):
        answers(wrong, requests, GREEDY)
    assert places.processes_of(tmp_path / "vllm.log") == []


def test_silence_ends_it_and_nothing_stays_behind(engine, requests, tmp_path):
    hasty = replace(engine, patience=0.5)
    with pytest.raises(BackendError, match=r"vllm\.log: nothing new for 0 s"):
        answers(hasty, requests, GREEDY)
    assert places.processes_of(tmp_path / "vllm.log") == []
    assert [path.name for path in tmp_path.iterdir()] == ["vllm.log"]


def test_a_file_is_ordered_by_the_pass_rates_of_vllm(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    rows = [{**row, "answer": "7"} for row in records()[:6]]
    source, out = tmp_path / "train.jsonl", tmp_path / "ordered.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["order", str(source), "--model", str(folder), "--by", "pass-rate", "--samples", "2"]
    command += ["--temperature", "0", "--max-response", "6", "--out", str(out)]
    monkeypatch.setattr("gainrl.ordering.order.find", lambda _: OddLength())
    found = {}
    vllm = ["--engine", "vllm", "--vllm-python", str(places.PYTHON)]
    for engine, options in {"transformers": [], "vllm": vllm}.items():
        assert cli.main([*command, *options]) == 0, capsys.readouterr().err
        found[engine] = list(read_lines(out))
        out.unlink()
    assert found["vllm"] == found["transformers"]
    assert {row["gainrl_value"] for row in found["vllm"]} == {0.0, 1.0}
    assert not (tmp_path / "ordered.jsonl.parts").exists()
    assert places.processes_of(tmp_path / "ordered.jsonl") == []


class OddLength:
    """Takes answers of an odd number of characters for right: random weights have no right one."""

    version = "odd"

    def __call__(self, responses, golds):
        return [Grade(len(text) % 2 == 1, text, "by its length") for text in responses]


def rollouts(tmp_path, engine):
    """Rollouts that are nearly greedy, of a model of random weights."""
    nano = {"source": "nano", "hidden": 64, "layers": 2, "heads": 2, "feed_forward": 64}
    chain = {"source": "generate", "task": "chain", "train": 12, "eval": 4, "levels": [1]}
    preset = {
        "preset": "difficulty",
        "seeds": [0],
        "models": {"nano": nano},
        "datasets": {"chain": chain},
        "scoring": {"difficulty_samples": 2},
        "training": {"temperature": 1e-6, "max_response": 12},
        "testing": {"engine": engine, "vllm": {"enforce_eager": True}},
        "verl": {"python": str(places.PYTHON), "variables": {"VLLM_CPU_KVCACHE_SPACE": "1"}},
        "methods": {"adarft": {"curriculum": "adarft", "difficulty": "measured"}},
        "experiments": {
            "t": {
                "models": ["nano"], "datasets": ["chain"], "methods": ["adarft"],
                "baseline": "adarft",
            },
        },
    }  # fmt: skip
    context = Context(plan.load(preset), tmp_path / engine)
    initialise_tracking(context)
    prepare_data(context, "chain")
    prepare.build_model(context, "nano")
    choose_prompts(context, "nano", "chain")
    difficulty.generate_rollouts(context, "nano", "chain", 0)
    part = context.layout.difficulty_parts("nano", "chain") / "0-of-1.jsonl"
    return context, part, rows(part)


def rows(part):
    kept = [row for row in read_lines(part) if "row" in row]
    return sorted(kept, key=lambda row: (row["row"], row["sample"]))


@pytest.mark.usefixtures("folder")
def test_difficulties_are_measured_by_vllm_and_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _, _, expected = rollouts(tmp_path, "transformers")
    context, part, found = rollouts(tmp_path, "vllm")
    places_of = [(row["row"], row["sample"]) for row in expected]
    assert [(row["row"], row["sample"]) for row in found] == places_of
    assert len(found) == 24
    # Logits of random weights can be as near as the two engines' rounding.
    assert sum(ours == theirs for ours, theirs in zip(found, expected, strict=True)) >= 20
    lines = part.read_text().splitlines(keepends=True)
    write_text(part, "".join([line for line in lines if '"row"' not in line or '"row": 1' in line]))
    kept = rows(part)
    assert 0 < len(kept) < 24
    difficulty.generate_rollouts(context, "nano", "chain", 0)
    assert [(row["row"], row["sample"]) for row in rows(part)] == places_of
    assert [row for row in rows(part) if row in kept] == kept
    assert len(part.read_text().splitlines()) >= 1 + 24
    difficulty.gather_difficulty(context, "nano", "chain")
    assert context.layout.signal("nano", "chain", "difficulty").exists()
    assert not part.parent.exists()
