"""The last lines of a call: the answer and where it lies, or what failed and why."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from project import COPIED, REPOSITORY, Project


def test_a_call_ends_with_the_answer(project: Project) -> None:
    done = project.snakemake("--forcerun", "make_table1", "--quiet", "rules")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    answer = next(line for line in lines if line.startswith("table1,"))
    assert re.match(
        r"table1, nano trained on chain: grpo ends at [\d.]+ \[.*?\]% on chain \(2 seeds\); "
        r"at equal tokens: adarft [+-][\d.]+ .* gain [+-][\d.]+",
        answer,
    )
    assert any(line.startswith("health of ") for line in lines)  # they learn nothing worth reading
    assert lines[-1] == "more: results/report.html"


def test_a_failed_call_ends_with_the_cause_and_its_log(tmp_path: Path) -> None:
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    own = Project(tmp_path)
    (tmp_path / "train.jsonl").write_text('{"question": "1+1?", "answer": "2"}\nno row\n')

    def broken(preset: dict[str, Any]) -> None:
        files = {"train_file": "train.jsonl", "eval_file": "train.jsonl"}
        preset["datasets"]["mine"] = {"source": "file", **files}
        chosen = {"models": ["nano"], "datasets": ["mine"], "methods": ["grpo"]}
        preset["experiments"]["table2"] = chosen

    done = own.snakemake("results/table2.csv", "--quiet", "rules", preset=own.edited(broken))
    assert done.returncode != 0
    failed, waiting = re.findall(r"^(?:failed|not started): .*$", done.stderr, re.MULTILINE)
    assert re.fullmatch(
        r"failed: data mine: train\.jsonl.*line 2.* \(log: results/tiny/logs/data/mine\.log\)",
        failed,
    )
    assert re.fullmatch(r"not started: \d+ jobs; the same call goes on from here", waiting)
