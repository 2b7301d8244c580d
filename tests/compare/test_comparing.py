"""`gainrl compare` on the command line: what it writes, and what it refuses in one line."""

from __future__ import annotations

import pytest

from gainrl import cli

CSV = "method,seed,step,accuracy\nuniform,0,0,0.2\nuniform,0,1,0.3\nmopps,0,0,0.2\nmopps,0,1,0.4\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curves.csv").write_text(CSV)
    return tmp_path


def test_the_first_method_is_the_baseline_and_nothing_is_written_unasked(folder, capsys):
    assert cli.main(["compare", "curves.csv"]) == 0
    assert "Steps to uniform's level" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["curves.csv"]


def test_several_files_are_read_together(folder, capsys):
    head, *rows = CSV.splitlines()
    for name, part in (("one.csv", rows[:2]), ("two.csv", rows[2:])):
        (folder / name).write_text("\r\n".join([head, *part, ""]), encoding="utf-8-sig")
    assert cli.main(["compare", "two.csv", "one.csv", "--baseline", "uniform"]) == 0
    together = capsys.readouterr().out
    assert cli.main(["compare", "curves.csv"]) == 0
    assert together == capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name the files with the curves, or --mlflow EXPERIMENT"),
        (("none.csv",), "none.csv: no such file"),
        (("curves.csv", "--smoothing", "0"), "--smoothing 0: it is a number of tests, from 1"),
        (("curves.csv", "--figure", "all.jpg"), "--figure all.jpg: name a .png"),
        (("curves.csv", "--columns", "accuracy"), "--columns accuracy: write it as NAME=COLUMN"),
        (("curves.csv", "--columns", "acuracy=a"), "no column 'acuracy' is read; did you mean"),
        (("curves.csv", "--columns", "task=t"), "curves.csv: no column 't'"),
        (("curves.csv", "curves.csv"), "curves.csv: row 2: step 0 of method 'uniform', seed 0 is"),
        (("curves.csv", "--rule", "speedup"), "rule 'speedup' is not like"),
        (("curves.csv", "--out", "curves.csv/x"), "cannot write: curves.csv is a file, no folder"),
        (
            ("curves.csv", "--out", "curves.csv/x/y"),
            "cannot write: curves.csv is a file, no folder",
        ),
        (("curves.csv", "--figure", "curves.csv/x.png"), "curves.csv is a file, no folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(folder, capsys, arguments, message):
    assert cli.main(["compare", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [path.name for path in folder.iterdir()] == ["curves.csv"]


@pytest.mark.parametrize("written", ["trainer_state", "./trainer_state.md", "link.tex"])
def test_what_is_read_is_not_written_over(folder, capsys, written):
    log = "".join(f'{{"step": {step}, "acc": 0.5}}\n' for step in range(9))
    state = folder / "trainer_state.json"
    state.write_text(f'{{"log_history": [{",".join(log.split(chr(10))[:-1])}]}}')
    (folder / "link.json").symlink_to(state)
    before = state.read_bytes()
    more = ["--metric", "acc", "--runs", "(?P<method>trainer)_(?P<seed>)"]
    for command in ("compare", "power"):
        assert cli.main([command, "trainer_state.json", *more, "--out", written]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("is an input (trainer_state.json); name another file")
    assert state.read_bytes() == before


@pytest.mark.parametrize("runs", ["(", "(?P<method>a)"])
def test_a_pattern_that_is_none_is_said(folder, capsys, runs):
    (folder / "a-seed0.jsonl").write_text('{"step": 1, "acc": 0.5}\n')
    assert cli.main(["compare", "a-seed0.jsonl", "--metric", "acc", "--runs", runs]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--runs" in line
