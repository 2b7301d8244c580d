"""`gainrl compare` on the command line: what it writes, and what it refuses in one line."""

from __future__ import annotations

import pytest

from gainrl import cli

RUNS = (("uniform", (0.2, 0.25, 0.3)), ("mopps", (0.2, 0.3, 0.4)))
ROWS = [f"{name},0,{at},{each}" for name, run in RUNS for at, each in enumerate(run)]
CSV = "\n".join(["method,seed,step,accuracy", *ROWS, ""])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curves.csv").write_text(CSV)
    return tmp_path


def test_the_first_method_is_the_baseline_and_nothing_is_written_unasked(folder, capsys):
    assert cli.main(["compare", "curves.csv", "--smoothing", "1"]) == 0
    said = capsys.readouterr()
    assert "Steps to uniform's level" in said.out
    assert said.err == (
        "gainrl: note: the baseline is 'uniform', the first method of the files; --baseline names "
        "another\n"
    )
    named = ["--smoothing", "1", "--baseline", "mopps"]
    assert cli.main(["compare", "curves.csv", *named]) == 0
    assert capsys.readouterr().err == ""
    assert [path.name for path in folder.iterdir()] == ["curves.csv"]


def test_several_files_are_read_together(folder, capsys):
    head, *rows = CSV.splitlines()
    for name, part in (("one.csv", rows[:3]), ("two.csv", rows[3:])):
        (folder / name).write_text("\r\n".join([head, *part, ""]), encoding="utf-8-sig")
    assert cli.main(["compare", "two.csv", "one.csv", "--baseline", "uniform"]) == 0
    together = capsys.readouterr().out
    assert cli.main(["compare", "curves.csv"]) == 0
    assert together == capsys.readouterr().out


def _write(folder, tests):
    """Curves of so many tests."""
    lines = [f"{name},0,{at},{at / tests}" for name in "ab" for at in range(tests)]
    (folder / "curves.csv").write_text("\n".join(["method,seed,step,accuracy", *lines, ""]))


def test_a_level_is_of_a_third_of_the_tests_and_of_three_at_most(folder, capsys):
    for tests, window in ((1, "last test"), (5, "last test"), (8, "last 2 tests"), (20, "last 3")):
        _write(folder, tests)
        assert cli.main(["compare", "curves.csv", "--baseline", "a"]) == 0
        shown = capsys.readouterr()
        assert window in shown.out
        assert not shown.err


def test_few_tests_for_the_smoothing_are_said(folder, capsys):
    for smoothing, tests, noted in ((3, 4, 1), (3, 8, 2), (3, 9, None), (1, 2, None), (2, 3, 1)):
        _write(folder, tests)
        given = ["curves.csv", "--baseline", "a", "--smoothing", str(smoothing)]
        assert cli.main(["compare", *given]) == 0
        said = capsys.readouterr().err
        if noted is None:
            assert said == ""
        else:
            assert f"gainrl: note: a run has {tests} tests, few for --smoothing {smoothing}" in said
            assert said.endswith(f"; pass --smoothing {noted}\n")


def test_runs_that_share_no_cost_are_named_with_file_and_seed(folder, capsys):
    lines = ["method,seed,step,tokens,accuracy"]
    for name, first in (("grpo", 0), ("gain", 0), ("grpo", 200), ("gain", 0)):
        seed = len(lines) // 6
        lines += [f"{name},{seed},{at},{first + 10 * at},0.{at + 1}" for at in range(3)]
    (folder / "apart.csv").write_text("\n".join([*lines, ""]))
    assert cli.main(["compare", "apart.csv", "--baseline", "grpo", "--smoothing", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "gainrl: apart.csv: row 11: seed 1 of 'gain' and 'grpo', in tokens: one run ended at 20, "
        "before the other's first test; test both at step 0, or leave the seed out by --seeds"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("curves.csv", "--smoothing", "4"), "row 2: method 'uniform', seed 0 has 3 tests, fewer"),
        (("curves.csv", "--rule", "speedup > -1"), "rule 'speedup > -1': a speed-up is above 0"),
        (("curves.csv", "--rule", "speedup-tokens >= 0"), "a speed-up is above 0"),
        (("curves.csv", "--metric", "x"), "--metric is of logs"),
        (("curves.csv", "--seeds", "0", "7"), "--seeds 7: no curve has this seed"),
        (("curves.csv", "--out", "."), "--out .: name a file"),
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
