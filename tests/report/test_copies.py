"""`snakemake results/table1.csv`: copies of one preset at a time, which say of which."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from report_files import PRESET

from gainrl import cli, plan
from gainrl.errors import ConfigError
from gainrl.report import plan as report_plan

TABLE = 'method,mean\n"GRPO, tuned",0.5\n'


@pytest.fixture
def copied(tmp_path, capsys):
    """Copies a file of a preset; gives the exit code and what was said of an error."""

    def copy(preset: str, name: str, root: Path = tmp_path) -> tuple[int, str]:
        path = tmp_path / f"{preset}.yaml"
        path.write_text(yaml.safe_dump(PRESET | {"preset": preset}))
        arguments = ["--preset", str(path), "--root", str(tmp_path), "--out", str(root / name)]
        code = cli.main(["copy", *arguments])
        return code, capsys.readouterr().err

    for preset in ("nano", "mine"):
        for name in ("table1.csv", "table1.md", "table1.tex", "figures/figure7.png"):
            path = tmp_path / preset / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(TABLE)
    return copy


def test_a_copy_says_of_which_preset_it_is(tmp_path, copied):
    for name in ("table1.csv", "table1.md", "table1.tex", "figures/figure7.png"):
        assert copied("nano", name) == (0, "")
    frame = pd.read_csv(tmp_path / "table1.csv")
    assert frame.to_dict("records") == [{"preset": "nano", "method": "GRPO, tuned", "mean": 0.5}]
    assert (tmp_path / "table1.md").read_text() == f"<!-- preset nano -->\n\n{TABLE}"
    assert (tmp_path / "table1.tex").read_text() == f"% preset nano\n{TABLE}"
    assert (tmp_path / "figures/figure7.png").read_text() == TABLE
    assert (tmp_path / "nano/table1.csv").read_text() == TABLE


def test_no_preset_s_copy_lies_beside_another_s(tmp_path, copied):
    copied("nano", "table1.csv")
    copied("nano", "figures/figure7.png")
    (tmp_path / "notes.csv").write_text("the user's own")
    assert copied("mine", "table1.csv") == (0, "")
    assert set(pd.read_csv(tmp_path / "table1.csv")["preset"]) == {"mine"}
    assert not (tmp_path / "figures/figure7.png").exists()
    assert (tmp_path / "nano/figures/figure7.png").exists()
    assert (tmp_path / "notes.csv").exists()


def test_what_is_not_there_and_other_places_are_refused(tmp_path, copied):
    code, error = copied("nano", "table9.csv")
    assert code == 2
    assert error == (
        f"gainrl: {tmp_path}/nano/table9.csv: no such file; `snakemake {tmp_path}/table9.csv` "
        "makes it, and the copy\n"
    )
    code, error = copied("nano", "table1.csv", Path("/elsewhere"))
    assert (code, error) == (
        2,
        f"gainrl: --out /elsewhere/table1.csv: copies lie below {tmp_path}\n",
    )


@pytest.mark.parametrize("name", ["tracking", "preset", "signal"])
def test_an_experiment_may_not_have_the_name_of_another_file(name):
    """Its table would take that file's place."""
    data = {**PRESET, "experiments": {name: PRESET["experiments"]["alone"]}}
    preset = plan.load(data)
    with pytest.raises(ConfigError, match=f"another file of the preset is called {name} too"):
        report_plan.results(preset, plan.Layout(preset.preset))
