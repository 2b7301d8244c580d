"""The end of a call: its last lines, the answer or what failed and why; the page that they name."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from project import COPIED, REPOSITORY, TINY, Project

from gainrl.tables.columns import _WHOLE


def test_a_call_ends_with_the_answer(project: Project) -> None:
    done = project.snakemake("--forcerun", "make_table1", "--quiet", "rules")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    answer = next(line for line in lines if line.startswith("table1,"))
    assert re.match(
        r"table1, nano trained on chain: grpo ends at [\d.]+ \[.*?\]% on chain \(3 seeds\); "
        r"at equal tokens: adarft [+-][\d.]+ .* gain [+-][\d.]+",
        answer,
    )
    assert any(line.startswith("health of ") for line in lines)  # they learn nothing worth reading
    assert lines[-1] == "more: results/tiny/report.html"


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

    done = own.snakemake("results/tiny/table2.csv", "--quiet", "rules", preset=own.edited(broken))
    assert done.returncode != 0
    failed, waiting = re.findall(r"^(?:failed|not started): .*$", done.stderr, re.MULTILINE)
    assert re.fullmatch(
        r"failed: data mine: train\.jsonl.*line 2.* \(log: results/tiny/logs/data/mine\.log\)",
        failed,
    )
    assert re.fullmatch(r"not started: \d+ jobs; the same call goes on from here", waiting)


def test_jobs_are_lines_in_place_of_snakemakes_own(project: Project) -> None:
    done = project.snakemake("--forcerun", "make_table1", "--logger", "gainrl")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if " of " in line]
    assert re.fullmatch(r"1 of \d+: make_table1, \d+ s; roughly \d+ s left", lines[0])
    count = int(re.match(r"1 of (\d+)", lines[0])[1])
    assert re.match(rf"{count} of {count}: ", lines[-1])
    assert "localrule" not in done.stderr


def test_what_keeps_a_call_from_running_anything_is_said(project: Project) -> None:
    """A target that is none, and the lock of a call that was killed."""
    done = project.snakemake("results/tiny/tabel1.csv", "--logger", "gainrl")
    assert done.returncode == 1
    assert "tabel1.csv" in done.stderr
    locks = project.folder / ".snakemake" / "locks"
    locks.mkdir(exist_ok=True)
    lock = locks / "0.output.lock"
    lock.write_text(str((project.folder / "results/tiny/table1.csv").relative_to(project.folder)))
    try:
        done = project.snakemake("--forcerun", "make_table1", "--logger", "gainrl")
    finally:
        lock.unlink()
    assert done.returncode == 1
    assert "cannot be locked" in done.stderr
    assert "--unlock" in done.stderr


def test_an_interrupted_call_says_that_it_goes_on(project: Project) -> None:
    """As Ctrl-C does; what was made before stays, and the next call makes the rest."""
    forced = ("make_table1", "make_table1_cost", "make_signal", "make_figures_figure7")
    command = ("snakemake", "--forcerun", *forced, "--logger", "gainrl", "--cores", "1")
    whole = [*command, "--configfile", TINY]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        whole, cwd=project.folder, env={**os.environ, "PATH": path}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        # a shell lets what it starts in the background ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    first = next(line for line in process.stderr if re.match(r"1 of \d+: ", line))
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(60) != 0, first + rest
    assert re.search(r"^not finished: \d+ jobs; the same call goes on from here$", rest, re.M)
    assert project.snakemake("--quiet", "rules").returncode == 0


def test_what_is_said_of_the_report_is_in_it(project: Project) -> None:
    text = (REPOSITORY / "docs/tutorials/report.md").read_text(encoding="utf-8")
    page = (project.folder / "results/tiny/report.html").read_text(encoding="utf-8")
    bold = re.findall(r"\*\*([A-Z][^*]+)\*\*", text)
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    for name in set(bold) - {"The answer", "Tables and figures"}:
        assert name in headings
    titles = [title for title, _ in _WHOLE.values()]  # not all are in this page
    heads = " ".join(re.findall(r"<th[^>]*>(.*?)</th>", page))
    for column in re.findall(r"^\| ([A-Z][\w -]+?(?: \(.+?\))?) \|", text, re.MULTILINE):
        assert column in heads or f"{column} (%)" in titles, column
