"""Tables for people: that the LaTeX is sound, and that both forms have the same cells."""

import re

import pandas as pd
import pytest
from run_folders import write_run

from gainrl.compare.render import (
    Caption,
    Heading,
    Paragraph,
    Points,
    Table,
    Title,
    escape,
    latex,
    markdown,
    read_views,
    write_views,
)
from gainrl.config.preset import Statistics
from gainrl.errors import DataError
from gainrl.results.runs import collect
from gainrl.tables.scores_table import BENCHMARK_COLUMNS, write_benchmarks
from gainrl.tables.table import table1, write_table

BLOCKS = [
    Paragraph("R&D: 50% of $5_a"),
    Points(("one {x}", "two ~")),
    Heading("nano, trained on chain"),
    Table([["Method", "a_b (%)", "c"], ["[x] GRPO", "-1.5 [-2.0, +3.0]", "≥2.00×"]]),
    Caption("C:\\x ^ # 1e-05 | <3"),
]


def check_structure(text):
    """Braces and environments are closed in order, and every line of a table has all its cells."""
    bare = re.sub(r"(?<!\\)%.*", "", text)
    depth = 0
    for mark in re.findall(r"(?<!\\)[{}]", bare):
        depth += 1 if mark == "{" else -1
        assert depth >= 0
    assert depth == 0
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", bare):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    assert len(re.findall(r"(?<!\\)\$", bare)) % 2 == 0
    tables = re.findall(r"\\begin\{tabular\}\{(l?r*)\}\n(.*?)\\end\{tabular\}", bare, re.DOTALL)
    for columns, body in tables:
        top, head, middle, *rows, bottom = body.strip().split("\n")
        assert (top, middle, bottom) == (r"\toprule", r"\midrule", r"\bottomrule")
        for line in [head, *rows]:
            assert line.endswith(r" \\")
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
            assert line[0] not in "[*"  # an argument of the line break before it
    return len(tables)


def test_the_fragment_is_sound_and_escaped():
    text = latex(BLOCKS)
    assert check_structure(text) == 1
    assert r"R\&D: 50\% of \$5\_a" in text
    assert r"{[}x] GRPO & $-$1.5 {[}$-$2.0, +3.0] & $\geq$2.00$\times$ \\" in text
    assert r"C:\textbackslash{}x \textasciicircum{} \# 1e-05 $|$ $<$3" in text
    assert r"\item two \textasciitilde{}" in text


def test_the_check_would_find_a_broken_fragment():
    for old, new in ((r" & $\geq$", r" $\geq$"), (r"(\%)", "(%)"), (r"\end{itemize}", "")):
        broken = latex(BLOCKS).replace(old, new, 1)
        assert broken != latex(BLOCKS)
        with pytest.raises((AssertionError, IndexError, ValueError)):
            check_structure(broken)


@pytest.mark.parametrize("text", ["plain", "GAIN-RL", "Qwen2.5-0.5B", "1e-05", "a/b, (c) = 1.5"])
def test_what_is_not_special_stays(text):
    assert escape(text) == text


def test_a_bar_in_a_cell_does_not_end_it():
    assert markdown([Table([["a|b", "c"]])]).splitlines()[0] == r"| a\|b | c |"


def test_the_files_are_written_beside_the_csv(tmp_path):
    write_views(tmp_path / "out" / "t.csv", BLOCKS)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("t.json", "t.md", "t.tex"),
    ]
    assert (tmp_path / "out" / "t.md").read_text() == (
        "R&D: 50% of $5_a\n\n- one {x}\n- two ~\n\n**nano, trained on chain**\n\n"
        "| Method | a_b (%) | c |\n| --- | ---: | ---: |\n"
        "| [x] GRPO | -1.5 [-2.0, +3.0] | ≥2.00× |\n\n*C:\\x ^ # 1e-05 | <3*\n"
    )


def test_a_document_is_read_as_it_was_written(tmp_path):
    blocks = [Title("t"), *BLOCKS]
    write_views(tmp_path / "t.csv", blocks)
    assert markdown(read_views(tmp_path / "t.csv")) == markdown(blocks)
    assert [type(block) for block in read_views(tmp_path / "t.csv")] == [type(b) for b in blocks]
    for damaged in ('{"a": 1}', '[{"block": "Script", "text": ""}]', '[{"block": "Title"}]', "[1]"):
        (tmp_path / "t.json").write_text(damaged)
        with pytest.raises(DataError, match=r"t\.json: no document of blocks"):
            read_views(tmp_path / "t.csv")


def test_an_experiments_table_is_sound(tmp_path):
    curves = {"chain": [0.1, 0.2, 0.3], "word_2": [0.1, 0.4, 0.3]}
    runs = collect(write_run(tmp_path, m, s, curves) for m in ("grpo", "gain") for s in (0, 1))
    table = table1(runs, Statistics(resamples=50), "grpo")
    write_table(table, tmp_path / "t.csv", title="50% & more")
    assert check_structure((tmp_path / "t.tex").read_text()) == 2


def test_a_table_of_benchmarks_is_sound(tmp_path):
    row = {"model": "nano", "benchmark": "gsm8k", "protocol": "paper", "engine": "vllm"}
    row |= {"metric": "pass@1", "mean": 0.1, "low": 0.0, "high": 0.2, "n": 9}
    row |= {"note": "protocol paper: 1 sample, greedy; vllm", "sampling": "1 sample, greedy"}
    frame = pd.DataFrame([row, {**row, "metric": "without_answer"}], columns=BENCHMARK_COLUMNS)
    write_benchmarks(frame, pd.DataFrame(columns=BENCHMARK_COLUMNS), tmp_path / "b.csv")
    text = (tmp_path / "b.tex").read_text()
    assert check_structure(text) == 1
    assert "9 problems, protocol paper: 1 sample, greedy; {[}low" in text
    assert r"nano & vllm & 10.0 {[}0.0, 20.0] & 10.0 {[}0.0, 20.0] \\" in text
