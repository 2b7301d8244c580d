"""`gainrl power`: docs/power.md as it is written, pilots from files and from finished runs."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import write_run

from gainrl.cli import main
from gainrl.compare import Point, curves_of
from gainrl.errors import DataError
from gainrl.power.finished import from_runs
from gainrl.power.pilot import from_curves
from gainrl.power.sizes import together
from gainrl.records import SAMPLES, write_table
from gainrl.results.runs import collect

PAGE = Path(__file__).resolve().parents[2] / "docs" / "power.md"
BLOCK = {kind: rf"```{kind}\n(.*?)```" for kind in ("csv", "text")}


def test_the_page_is_what_its_commands_print(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    (pilot,) = re.findall(BLOCK["csv"], text, re.DOTALL)
    (tmp_path / "pilot.csv").write_text(pilot)
    commands = re.findall(r"(?m)^    gainrl (power .*)$", text)
    assert main(commands[0].split()) == 0
    (shown,) = re.findall(BLOCK["text"], text, re.DOTALL)
    assert capsys.readouterr().out == shown
    assert main(commands[1].split()) == 0
    rows = list(csv.DictReader((tmp_path / "study.csv").open()))
    (need,) = [row for row in rows if row["quantity"] == "seeds_for_difference"]
    assert f"| 2 points | {need['value']} |" in shown
    assert (tmp_path / "study.md").read_text().startswith("What these pilots can decide")


def curves(*rows):
    """(method, seed, levels) as curves of three tests, in shares."""
    return curves_of(
        Point(method, seed, task, 10 * at, None, value, "x")
        for task, method, seed, levels in rows
        for at, value in enumerate(levels)
    )


def test_a_pilot_is_the_paired_difference_in_points():
    found = from_curves(
        curves(
            *(("", "grpo", seed, [0.2, 0.3, 0.5]) for seed in range(3)),
            *(("", "gain", seed, [0.2, 0.3 + 0.1 * seed, 0.5 + 0.02 * seed]) for seed in range(3)),
        ),
        "grpo",
        smoothing=1,
    )
    (pilot,) = found
    assert pilot.differences == pytest.approx([0, 2, 4])
    assert pilot.parts.of_a_seed() == pytest.approx(2)
    assert (pilot.parts.df, math.isnan(pilot.parts.residual)) == (2, True)
    # smoothed, GRPO is at 1/3 at step 20 and so is seed 0; seed 1 goes from 0.3 at 10 to 0.3733 at
    # 20, seed 2 from 0.2 at 0 to 0.35 at 10
    crossings = [20, 10 + 10 * (1 / 3 - 0.3) / (1.12 / 3 - 0.3), 10 * (1 / 3 - 0.2) / 0.15]
    assert pilot.logs["steps"] == pytest.approx([math.log(20 / each) for each in crossings])


def test_seeds_that_all_have_one_ratio_do_not_say_how_ratios_vary():
    rows = [("", "grpo", seed, [0.2, 0.3, 0.5]) for seed in range(3)]
    rows += [("", "gain", seed, [0.2, 0.5, 0.6]) for seed in range(3)]
    assert from_curves(curves(*rows), "grpo", 1)[0].logs == {}


def test_tasks_can_be_start_models():
    rows = []
    for task, gain in (("a", 0.0), ("b", 0.04), ("c", 0.08)):
        for seed in range(2):
            rows.append((task, "grpo", seed, [0.2, 0.3, 0.5]))
            rows.append((task, "gain", seed, [0.2, 0.5, 0.5 + gain + 0.01 * (seed - 0.5)]))
    pilots = from_curves(curves(*rows), "grpo", 1)
    parts = together(pilots, starts=True)
    within = 0.5  # variance of +-0.5 points
    assert parts.seeds == pytest.approx(within)
    assert parts.starts == pytest.approx(16 - within / 2)
    assert math.isnan(together(pilots, starts=False).starts)
    with pytest.raises(DataError, match="start models need two"):
        together(pilots[:1], starts=True)


def answered(folder, name, right):
    """Write the answers of a last test: right, 0 and 1, (problems,) or (problems, samples)."""
    rows = [
        {"id": f"{name}/{at:03}", "sample": k, "response": "x", "correct": int(each), "tokens": 1}
        for at, value in enumerate(right)
        for k, each in enumerate(np.atleast_1d(value))
    ]
    (folder / "samples").mkdir(exist_ok=True)
    write_table(folder / "samples" / f"{name}.parquet", pd.DataFrame(rows), SAMPLES)


@pytest.fixture
def runs(tmp_path):
    """Four seeds of two methods on two benchmarks of 10 problems, with their answers."""
    rng = np.random.default_rng(0)
    for method, share in (("grpo", 0.4), ("gain", 0.7)):
        for seed in range(4):
            right = {name: rng.random(10) < share for name in ("chain", "word")}
            curve = {name: [0.2, 0.3, float(each.mean())] for name, each in right.items()}
            folder = write_run(tmp_path, method, seed, curve)
            for name, each in right.items():
                answered(folder, name, each)
    return [folder.parent for folder in sorted(tmp_path.glob("**/done.json"))]


def test_finished_runs_are_seen_by_problem(runs):
    (pilot,) = from_runs(collect(runs), "grpo", 1)
    assert pilot.task == "tiny on chain"
    assert pilot.parts.problems_n == 10  # of both benchmarks, two by two
    assert pilot.parts.seen == pytest.approx(pilot.differences.var(ddof=1))
    assert pilot.parts.residual > 0
    assert math.isnan(pilot.parts.answers)  # of one answer each
    (smoothed,) = from_runs(collect(runs), "grpo", 3)
    assert math.isnan(smoothed.parts.residual)


def test_several_answers_tell_their_chance(tmp_path):
    """Problems of chances 0.1 to 0.9, the same for all seeds: all that is left is the answers'."""
    rng = np.random.default_rng(0)
    chances = np.linspace(0.1, 0.9, 400)[:, None]
    for method in ("grpo", "gain"):
        for seed in range(4):
            right = {name: rng.random((400, 4)) < chances for name in ("chain", "word")}
            folder = write_run(
                tmp_path, method, seed, {n: [0.2, 0.3, each.mean()] for n, each in right.items()}
            )
            for name, each in right.items():
                answered(folder, name, each)
    found = collect([done.parent for done in sorted(tmp_path.glob("**/done.json"))])
    (pilot,) = from_runs(found, "grpo", 1)
    # two methods, two benchmarks, four answers: 2 / 2 / 4 of the mean of p (1 - p)
    exact = 1e4 * float((chances * (1 - chances)).mean()) / 4
    assert pilot.parts.answers == pytest.approx(exact, rel=0.02)
    assert pilot.parts.residual == pytest.approx(exact, rel=0.1)
    assert pilot.parts.samples == 4


def test_without_answers_only_the_seeds_are_known(runs):
    (runs[0] / "samples" / "word.parquet").unlink()
    (pilot,) = from_runs(collect(runs), "grpo", 1)
    assert math.isnan(pilot.parts.residual)


def test_answers_that_are_not_of_the_runs_are_refused(runs):
    answered(runs[0], "chain", [True] * 10)
    answered(runs[0], "word", [True] * 10)
    with pytest.raises(DataError, match="answers of 'gain' are not of the last tests"):
        from_runs(collect(runs), "grpo", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the files with the pilots' curves, or --preset"),
        (["one.csv", "--alpha", "2"], "--alpha 2: it lies between 0 and 1"),
        (["one.csv", "--power", "0.01"], "--power 0.01: it is above --alpha"),
        (["one.csv", "--difference", "-1"], "--difference -1: a number above 0"),
        (["one.csv", "--difference", "nan"], "--difference nan: a number above 0"),
        (["one.csv", "--difference", "inf"], "--difference inf: a number above 0"),
        (["one.csv", "--speedup", "nan"], "--speedup nan: a ratio above 1"),
        (["one.csv", "--speedup", "0.9"], "--speedup 0.9: a ratio above 1"),
        (["one.csv", "--speedup", "inf"], "--speedup inf: a ratio above 1"),
        (["one.csv", "--seeds", "1"], "--seeds 1: 2 at least"),
        (["one.csv", "--seeds", "3", "100000"], "--seeds 100000: at most 5,000"),
        (["nearly.csv"], "the pilots' differences are the same in all seeds"),
        (["one.csv", "--smoothing", "0"], "--smoothing 0"),
        (["one.csv", "--starts"], "start models need two"),
        (["one.csv", "--problems", "400"], "these pilots do not say what more problems change"),
        (["one.csv", "--samples", "4"], "these pilots do not say what more samples change"),
        (["one.csv", "--samples", "0"], "--samples 0: 1 at least"),
        (["single.csv"], "one seed of 'gain'"),
        (["one.csv", "--smoothing", "4"], "has 3 tests, fewer than --smoothing 4; pass 3 or less"),
        (["empty.csv"], "empty.csv: no row below the head"),
        (
            ["less.csv"],
            r"less.csv: row 5: method 'gain' has seeds 0, 2, .* 0, 1, 2; .*"
            r"take out the rows of all seeds but 0 2$",
        ),
        (["export.csv"], "add --wandb-csv"),
        (["one.csv", "--experiment", "table1"], "--experiment goes with --preset"),
        (["one.csv", "--root", "results"], "--root goes with --preset"),
        (["one.csv", "--preset", "config.yaml"], "name the files, or --preset, not both"),
        (["--preset", "config.yaml", "--metric", "x"], "--metric goes with files"),
        (["--preset", "config.yaml", "--columns", "seed=s"], "--columns goes with files"),
        (["--preset", "config.yaml", "--runs", "x"], "--runs goes with files"),
        (["--preset", "config.yaml", "--any-value"], "--any-value goes with files"),
        (["--preset", "config.yaml", "--wandb-csv"], "--wandb-csv goes with files"),
        (["flat.csv"], "the pilots' differences are the same in all seeds"),
        (["--preset", "config.yaml", "--experiment", "tabel1"], "unknown name 'tabel1'|tabel1:"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, capsys, arguments, message):
    for name, seeds in (("one", 3), ("single", 1)):
        lines = ["method,seed,step,accuracy"]
        for seed in range(seeds):
            lines += [f"grpo,{seed},{at},{0.2 + 0.1 * at + 0.01 * seed * at}" for at in range(3)]
            lines += [f"gain,{seed},{at},{0.2 + 0.12 * at}" for at in range(3)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "empty.csv").write_text("method,seed,step,accuracy\n")
    (tmp_path / "export.csv").write_text('"Step","gain-seed0 - acc"\n0,0.2\n')
    whole = (tmp_path / "one.csv").read_text().splitlines(keepends=True)
    less = [line for line in whole if not line.startswith("gain,1,")]
    (tmp_path / "less.csv").write_text("".join(less))
    flat = [f"{name},{seed},{at},0" for name in "ab" for seed in (0, 1) for at in (0, 1)]
    (tmp_path / "flat.csv").write_text("\n".join(["method,seed,step,accuracy", *flat]) + "\n")
    nearly = ["method,seed,step,accuracy"]  # equal but for the last bit of a difference
    for seed, last in enumerate((0.25, 0.5, 0.3)):
        for at, base in enumerate((0.1, last - 0.05, last)):
            gain = base if at < 2 else round(last + 0.05, 2)
            nearly += [f"a,{seed},{at},{base}", f"b,{seed},{at},{gain}"]
    (tmp_path / "nearly.csv").write_text("\n".join(nearly) + "\n")
    given = [str(tmp_path / each) if each.endswith(".csv") else each for each in arguments]
    assert main(["power", *given]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert len(said.splitlines()) == 1


def test_the_pilots_are_not_written_over(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "pilot.csv"
    source.write_text("method,seed,step,accuracy\n")
    assert main(["power", "pilot.csv", "--out", "pilot"]) == 2
    said = capsys.readouterr().err
    assert said == "gainrl: --out pilot.csv is an input (pilot.csv); name another file\n"


def test_runs_that_are_not_finished_are_named(tmp_path, capsys):
    assert main(["power", "--preset", "config.yaml", "--root", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert re.search(
        r"seed0: the run is not finished \((\d+) of \1 runs of 'table1' are not\)", said
    )
    assert said.endswith("first train them, as by `make run PRESET=config.yaml`\n")
    assert len(said.splitlines()) == 1


def test_exports_of_wandb_are_pilots_too(tmp_path, capsys):
    head = ",".join(["Step", *(f"{name}-seed{seed} - acc" for name in "ab" for seed in range(3))])
    rows = [f"{at}," + ",".join(f"0.{at + 1}{k * k}" for k in range(6)) for at in range(3)]
    (tmp_path / "export.csv").write_text("\n".join([head, *rows, ""]))
    more = ["--wandb-csv", "--metric", "acc"]
    assert main(["power", str(tmp_path / "export.csv"), *more]) == 0
    said = capsys.readouterr()
    assert "against a" in said.out
    assert "note: the baseline is 'a', the first method of the files" in said.err


def test_the_numbers_are_written_beside_the_page(tmp_path, capsys):
    source = tmp_path / "p.csv"
    rng = np.random.default_rng(2)
    lines = ["method,seed,step,tokens,accuracy"]
    for seed in range(5):
        for method, gain in (("grpo", 0.0), ("gain", 0.03)):
            for at in range(4):
                value = 0.2 + 0.1 * at + gain * at + rng.normal(0, 0.01)
                lines.append(f"{method},{seed},{at},{100 * at},{value}")
    source.write_text("\n".join(lines) + "\n")
    assert main(["power", str(source), "--seeds", "5", "10", "--out", str(tmp_path / "o")]) == 0
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    values = {(row["quantity"], row["method"], row["seeds"]): row["value"] for row in rows}
    five = float(values["smallest_difference", "all", "5"])
    assert five > float(values["smallest_difference", "all", "10"])
    assert f"| 5 | {five:.1f} |" in (tmp_path / "o.md").read_text()
    assert json.loads((tmp_path / "o.json").read_text())
    assert "| 1.2× in tokens (sd of logarithms" in capsys.readouterr().out
