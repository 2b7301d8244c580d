"""The declarations of all results: names, files, functions that make them, targets."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from report_files import PRESET, claiming

from gainrl import cli, plan
from gainrl.errors import ConfigError
from gainrl.plan.results import SECTIONS
from gainrl.report import plan as report_plan

REPOSITORY = Path(__file__).resolve().parents[2]
PRESETS = [
    "config.yaml",
    *sorted(f"experiments/{p.name}" for p in REPOSITORY.glob("experiments/*")),
]


def declared(preset):
    """Results of a preset, by name."""
    return report_plan.results(preset, plan.Layout(preset.preset, Path("results")))


@pytest.mark.parametrize("name", PRESETS)
def test_every_result_has_its_files_and_a_function_that_takes_them(name, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    preset = plan.load(name)
    seen = set()
    for result in declared(preset).values():
        paths = result.files(Path("results"))
        assert paths[0].with_suffix("") == Path("results") / result.name
        assert not seen & {*paths}
        seen.update(paths)
        module, function = result.make.split(":")
        signature = inspect.signature(getattr(import_module(module), function))
        signature.bind("context", *result.arguments, *paths)
        assert result.section in SECTIONS
        assert result.targets
        assert all(picture.title and picture.caption for picture in result.pictures)


def test_targets_are_what_a_preset_asks_for():
    found = declared(plan.load(claiming(PRESET)))
    built = {target: list(report_plan.built(found, target)) for target in ("default", "figures")}
    assert list(report_plan.built(found, "all")) == [
        *(
            "claims",
            "table1",
            "figures/figure7",
            "figures/figure7_training",
            "figures/figure7_cost",
            "table1_cost",
        ),
        *("alone", "alone_cost", "signal"),
        *("figures/figure3", "figures/layers"),
    ]
    assert built["default"] == [
        *(
            "claims_first",
            "table1",
            "figures/figure7",
            "figures/figure7_training",
            "figures/figure7_cost",
            "table1_cost",
        ),
        "signal",
    ]
    assert built["figures"] == ["figures/figure7", "figures/figure3", "figures/layers"]


def test_a_result_that_the_preset_has_not_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no result 'tabel1'; did you mean 'table1'"):
        report_plan.find(declared(plan.load(PRESET)), "tabel1")


def test_a_result_is_made_by_its_name(tmp_path, monkeypatch, capsys):
    path = tmp_path / "preset.yaml"
    path.write_text(yaml.safe_dump(PRESET))
    made = []
    monkeypatch.setattr("gainrl.tables.curves.make_figures", lambda *given: made.append(given[1:]))
    arguments = ["--preset", str(path), "--root", str(tmp_path)]
    assert cli.main(["make", "figures/figure7", *arguments]) == 0
    folder = tmp_path / plan.load(PRESET).preset / "figures"
    assert "nothing is recorded in a store" in capsys.readouterr().out
    assert made == [("table1", folder / "figure7.png", folder / "figure7_curriculum.png")]
    assert cli.main(["make", "figures/figure8", *arguments]) == 2
    assert "no result 'figures/figure8'; did you mean" in capsys.readouterr().err


def test_a_call_is_tracked_where_it_trains_and_makes_something(monkeypatch, tmp_path):
    monkeypatch.chdir(REPOSITORY)
    preset = plan.load("experiments/tiny.yaml")
    layout = plan.Layout(preset.preset, tmp_path)

    def tracked(*outputs):
        return report_plan.tracked(preset, layout, list(map(str, outputs)))

    seed = layout.done(plan.RunKey("nano", "chain", "gain", 1))
    assert tracked(layout.table("signal")) == {"parents": [], "experiments": []}
    assert tracked(seed) == {"parents": ["nano/chain/gain"], "experiments": []}
    both = {"parents": ["nano/chain/gain"], "experiments": ["halves"]}
    assert tracked(seed, layout.table("halves")) == both
    layout.home.mkdir()
    layout.table("table1").touch()  # made by a call before
    assert tracked(seed)["experiments"] == ["table1"]
