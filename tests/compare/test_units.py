"""Accuracies are shares, percent or of a unit of their own; a cell that fits none is named."""

from __future__ import annotations

import pytest

from gainrl import cli

HEAD = "method,seed,step,accuracy\n"


def rows(method, seed, values):
    return "".join(f"{method},{seed},{step},{value}\n" for step, value in enumerate(values))


def curves(scale=1.0, shift=0.0, other=None):
    """Two methods in three seeds of ten tests; the second in `other` times its shares."""
    rise = [0.2 + 0.02 * step for step in range(10)]
    text = HEAD
    for seed in range(3):
        noise = 0.01 * seed
        text += rows("grpo", seed, [scale * (value + noise) + shift for value in rise])
        factor = scale if other is None else other
        text += rows("gain", seed, [factor * (value + 0.05 - noise) + shift for value in rise])
    return text


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """Runs a command on curves.csv; what it printed, or its one line of error."""
    monkeypatch.chdir(tmp_path)

    def run(text, *arguments, command="compare", code=0):
        (tmp_path / "curves.csv").write_text(text)
        given = [command, "curves.csv", "--baseline", "grpo", *arguments]
        assert cli.main(given) == code, capsys.readouterr().err
        printed = capsys.readouterr()
        return printed.err.strip() if code else printed.out

    return run


@pytest.mark.parametrize("command", ["compare", "power"])
def test_a_method_in_percent_beside_one_in_shares_is_named(said, command):
    line = said(curves(other=100), "--any-value", command="compare")
    assert "+" in line  # by whoever insists
    line = said(curves(other=100), command=command, code=2)
    assert line == (
        "gainrl: curves.csv: row 12: the accuracies of 'gain' are percent (23 to 43), those of "
        "'grpo' shares (0.2 to 0.4); give all as shares or all in percent; --any-value takes it as "
        "it is"
    )


def test_a_seed_in_percent_is_named(said):
    text = curves()
    seed = rows("gain", 2, [100 * (0.2 + 0.02 * step) for step in range(10)])
    text = "".join(line for line in text.splitlines(True) if not line.startswith("gain,2")) + seed
    line = said(text, code=2)
    assert "row 52: the accuracies of method 'gain', seed 2 are percent (20 to 38)" in line
    assert "those of the other runs shares" in line


@pytest.mark.parametrize("command", ["compare", "power"])
@pytest.mark.parametrize(
    ("scale", "old", "new", "high"),
    [
        (1, "grpo,1,3,0.27", "-0.27", 1),
        (1, "grpo,1,3,0.27", "27", 1),
        (100, "grpo,1,3,27.0", "270", 100),
    ],
)
def test_a_cell_outside_the_range_of_all_others_is_named(said, command, scale, old, new, high):
    text = curves(scale)
    assert text.count(old) == 1
    text = text.replace(old, old.rpartition(",")[0] + "," + new)
    line = said(text, command=command, code=2)
    assert line.startswith(f"gainrl: curves.csv: row 25: accuracy {new} is outside [0, {high}]")
    assert "59 of 60" in line
    assert "--any-value" in line
    said(text, "--any-value", "--difference", "0.1", command="power")


def test_some_cells_in_percent_are_named_though_they_are_not_few(said):
    text = curves()
    for step in range(7, 10):
        for seed in range(3):
            line = next(row for row in text.splitlines() if row.startswith(f"gain,{seed},{step},"))
            head, _, value = line.rpartition(",")
            text = text.replace(line, f"{head},{100 * float(value):g}")
    line = said(text, code=2)
    assert "row 19: accuracy 39 is outside [0, 1], where 51 of 60 are" in line


def test_rewards_are_compared_in_their_own_unit(said):
    assert "| grpo | -0.0" in said(curves(2, -0.8))


def test_power_needs_the_difference_to_decide_of_what_is_no_share(said):
    line = said(curves(2, -0.8), command="power", code=2)
    assert line.startswith("gainrl: curves.csv: row 2: values from -0.4 to ")
    assert "neither shares (0 to 1) nor percent (0 to 100, some above 10)" in line
    assert "--difference" in line
    for text in (curves(2, -0.8), curves(10)):
        shown = said(text, "--difference", "0.1", command="power")
        assert "points" not in shown
        assert "| a difference of 0.1 |" in shown
        assert "in the unit of the file" in shown


def test_power_takes_percent_for_points(said):
    shares, percent = (said(curves(scale), command="power") for scale in (1, 100))
    assert shares == percent
    assert "- 2 points: " in shares


def test_a_small_smallest_difference_is_not_rounded_to_zero(said):
    tiny = curves(0.01, -0.003)
    shown = said(tiny, "--difference", "0.0001", command="power")
    assert "| 0.0 |" not in shown
    assert "| 0.00 |" not in shown
