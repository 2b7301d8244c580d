"""The answers behind a number, printed: `gainrl show RUN --problem ID`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gainrl.errors import DataError
from gainrl.grading.code import FunctionTests, decode
from gainrl.plan import benchmarks
from gainrl.plan.layout import LINEARITY, PROBE
from gainrl.records import PROMPTS, SAMPLES, read_json, read_table
from gainrl.training import files

RULE = "-" * 80
SHOWN = 3
"""Pairs of input and output that are printed."""


def show_problem(folder: Path, problem: str, benchmark: str | None) -> None:
    """Print a problem with its gold answer and every graded answer to it below a folder.

    Args:
        folder: a run, a model's tests (evals/MODEL) or the folder of one test.
        problem: the problem's id, or the end of one: '17' finds 'gsm8k/eval/0017'.
        benchmark: only tables of this data set.

    Raises:
        DataError: no sample tables there, no such problem, or an end that fits several.
    """
    paths = [path for path in _tables(folder) if benchmark in (None, *path.parts, path.stem)]
    if not paths:
        only = f" of benchmark '{benchmark}'" if benchmark else ""
        raise DataError(f"{folder}: no sample tables{only} there")
    tables = [(path, read_table(path, SAMPLES)) for path in paths]
    name = _problem({name for _, table in tables for name in table["id"]}, problem, folder)
    shown = False
    for path, table in tables:
        rows = table[table["id"] == name]
        if len(rows):
            if not shown:
                _question(path, name)
            shown = True
            _answers(path, rows)


def _tables(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.parquet")) + sorted(folder.glob(f"{files.SAMPLES}/*.parquet"))
    found += sorted(folder.glob(f"benchmarks/*/*/{benchmarks.SAMPLES}"))
    return [path for path in found if path.name not in (PROBE, LINEARITY)]


def _problem(ids: set[str], wanted: str, folder: Path) -> str:
    if wanted in ids:
        return wanted
    ends = sorted(name for name in ids if _number(name) == _number(wanted))
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise DataError(f"{folder}: '{wanted}' fits {', '.join(ends[:3])}; give the whole id")
    raise DataError(f"{folder}: no problem '{wanted}'; ids look like '{min(ids)}'")


def _number(name: str) -> str:
    """The last part of an id without leading zeros."""
    return name.rpartition("/")[2].lstrip("0")


def _question(path: Path, name: str) -> None:
    """The question and gold answer, from the data set's own table where it still lies there."""
    dataset = name.partition("/")[0]
    homes = [parent for parent in path.absolute().parents if (parent / "data").is_dir()]
    print(f"{RULE}\n{name}")
    for home in homes:
        source = home / "data" / dataset / "eval.parquet"
        if source.exists():
            table = read_table(source, PROMPTS)
            row = table[table["id"] == name]
            if len(row):
                print(f"\n{row['question'].iloc[0]}\n\ngold: {_gold(row['answer'].iloc[0])}")
            return


def _gold(answer: str) -> str:
    """A gold answer for people: of a program its tests, the first ones where they are many."""
    try:
        tests = decode(answer)
    except DataError:
        return answer
    if isinstance(tests, FunctionTests):
        return f"tests of {tests.entry_point}\n{tests.tests.strip()}"
    pairs = [f"{given!r} -> {wanted!r}" for given, wanted in tests.pairs]
    more = [f"and {len(pairs) - SHOWN} more"] if len(pairs) > SHOWN else []
    return "\n".join([f"{len(pairs)} tests", *pairs[:SHOWN], *more])


def _answers(path: Path, rows: pd.DataFrame) -> None:
    print(f"{RULE}\n{path}")
    score = path.with_name(benchmarks.SCORE)
    if path.name == benchmarks.SAMPLES and score.exists():
        about = read_json(score)
        print(f"{about['protocol']}, {about['engine']}, {about['grader']}, {about['sampling']}")
    for row in rows.sort_values("sample").to_dict("records"):
        verdict = "right" if row["correct"] else "wrong"
        reason = f" ({row['reason']})" if row.get("reason") else ""
        cut = ", cut off" if row.get("truncated") == 1 else ""
        print(f"\n[{row['sample']}] {verdict}{reason}, {row['tokens']} tokens{cut}")
        print(row["response"])
        print(f"extracted: {row.get('extracted')!r}, by the rule {row.get('rule')!r}")
