"""The report where a file that it shows is missing or damaged."""

import pytest
import yaml
from report_files import PRESET, page

from gainrl import cli
from gainrl.errors import DataError, TrackingError


@pytest.mark.parametrize(
    "name",
    [
        *("nano/table1.json", "nano/signal.json", "nano/figures/figure7.png"),
        *("nano/figures/figure7_curriculum.png", "nano/figures/layers.png"),
        *("nano/tracking.json", "nano/models/tiny/gainrl.json"),
        *("nano/signals/tiny/chain/scores.parquet", "nano/signals/tiny/chain/difficulty.parquet"),
        *("nano/runs/tiny/chain/gain/seed0/tracking.json",),
        "nano/runs/tiny/chain/gain/seed0/done.json",
    ],
)
def test_a_missing_file_is_one_line_that_names_it(results, capsys, name):
    (results / name).unlink()
    preset = results / "preset.yaml"
    preset.write_text(yaml.safe_dump(PRESET))
    arguments = ["--preset", str(preset), "--root", str(results), "--scope", "all"]
    capsys.readouterr()
    assert cli.main(["report", *arguments, "--out", str(results / "report.html")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    where = name.removesuffix("/done.json")
    assert str(results / where) in error
    assert not (results / "report.html").exists()


def test_claims_that_are_asked_for_have_to_be_there(results, claimed):
    (results / "nano/claims.csv").unlink()
    with pytest.raises(DataError, match=r"claims\.csv: no such file"):
        page(results, claimed)


def test_a_figure_that_is_no_picture_is_named(results):
    (results / "nano/figures/figure7.png").write_text("torn")
    with pytest.raises(DataError, match=r"figure7\.png: not a PNG picture"):
        page(results)


def test_an_experiment_that_the_store_does_not_know_is_named(results):
    (results / "nano/tracking.json").write_text('{"uri": "sqlite:///x", "experiments": {}}')
    with pytest.raises(
        TrackingError, match=r"tracking\.json: knows no experiment 'gainrl/nano/table1'"
    ):
        page(results)
