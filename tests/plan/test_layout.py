"""The names of files between stages: those of docs/files.md, each spelled in one place."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from gainrl.plan import Layout, RunKey
from gainrl.plan.benchmarks import Test as ProtocolTest

REPOSITORY = Path(__file__).resolve().parents[2]
LAYOUT = Layout("small", Path("out"))
KEY = RunKey("nano", "chain", "gain", 1)
RUN = "runs/nano/chain/gain/seed1"
OF_RUN = ProtocolTest("nano", "word", "paper", "vllm", KEY)
OF_START = ProtocolTest("nano", "word", "paper", "vllm")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (LAYOUT.resolved, "preset.json"),
        (LAYOUT.tracking, "tracking.json"),
        (LAYOUT.split("chain", "eval"), "data/chain/eval.parquet"),
        (LAYOUT.model("nano"), "models/nano"),
        (LAYOUT.model_note("nano"), "models/nano/gainrl.json"),
        (LAYOUT.model_tracked("nano"), "models/nano.tracking.json"),
        (LAYOUT.signal("nano", "chain", "scores"), "signals/nano/chain/scores.parquet"),
        (LAYOUT.shard("nano", "chain", 1, 3), "signals/nano/chain/shards/1-of-3.npz"),
        (LAYOUT.study("nano", "chain", "maps"), "signals/nano/chain/studies/maps.npz"),
        (LAYOUT.study("nano", "chain", "layers"), "signals/nano/chain/studies/layers.parquet"),
        (LAYOUT.order("nano", "chain", "angle"), "signals/nano/chain/order/angle.parquet"),
        (LAYOUT.start("nano", "word"), "evals/nano/word.json"),
        (LAYOUT.run(KEY), RUN),
        (LAYOUT.done(KEY), f"{RUN}/done.json"),
        (LAYOUT.trained(KEY), f"{RUN}/model"),
        (LAYOUT.snapshot(KEY, 20), f"{RUN}/snapshots/step000020"),
        (LAYOUT.probe(KEY), f"{RUN}/probe.parquet"),
        (LAYOUT.neurons(KEY), f"{RUN}/neurons.npz"),
        (LAYOUT.linearity(KEY), f"{RUN}/linearity.parquet"),
        (LAYOUT.extrapolated(KEY), f"{RUN}/linearity.json"),
        (LAYOUT.tracked("table1"), "tables/table1.tracking.json"),
        (OF_RUN.score(LAYOUT), f"{RUN}/benchmarks/word/paper-vllm/score.json"),
        (OF_RUN.samples(LAYOUT), f"{RUN}/benchmarks/word/paper-vllm/samples.parquet"),
        (OF_RUN.weights(LAYOUT), f"{RUN}/model"),
        (OF_RUN.ready(LAYOUT), f"{RUN}/done.json"),
        (OF_START.score(LAYOUT), "evals/nano/benchmarks/word/paper-vllm/score.json"),
        (OF_START.weights(LAYOUT), "models/nano"),
        (OF_START.ready(LAYOUT), "models/nano/gainrl.json"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_where_a_file_lies(path, expected):
    assert path == Path("out/small") / expected


NAMES = (
    *("done.json", "run.json", "gainrl.json", "preset.json", "job.json", "score.json"),
    *("steps.jsonl", "timing.jsonl", "eval.jsonl", "answers.jsonl", "warmup.jsonl"),
    *("scores.parquet", "features.parquet", "difficulty.parquet", "gradients.parquet"),
    *("probe.parquet", "linearity.parquet", "samples.parquet", "neurons.npz"),
    *("linearity.json", "extrapolation.json", ".tracking.json"),
)


def spelled(path: Path) -> list[str]:
    """The texts of a Python file but for its docstrings; of any other file its lines of code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [line for line in text.splitlines() if not line.lstrip().startswith(("#", '"""'))]
    tree = ast.parse(text)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [node.value for node in texts if isinstance(node.value, str) and id(node) not in said]


def test_every_name_is_spelled_once():
    files = [*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "rules").glob("*.smk")]
    texts = [(path, text) for path in files for text in spelled(path)]
    for name in NAMES:
        whole = re.compile(rf"(^|[/\"'}}]){re.escape(name)}($|[\"'])")
        found = [path for path, text in texts if whole.search(text)]
        assert len(found) <= 1, f"'{name}' is spelled in {', '.join(map(str, found))}"
