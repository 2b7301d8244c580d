"""Presets that extend a file, and parameters that a preset gives to a whole policy."""

from __future__ import annotations

import json

import pytest
import yaml
from presets import BASE, changed, error_of

from gainrl import plan
from gainrl.config.files import extended, read_mapping
from gainrl.errors import ConfigError


def write(path, value):
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return str(path)


def test_a_preset_adds_to_and_replaces_what_it_extends(tmp_path):
    base = write(tmp_path / "base.yaml", {"a": {"x": 1, "y": [1, 2]}, "b": 2, "c": {"z": 3}})
    own = {"extends": base, "a": {"y": [3], "w": 4}, "b": None, "d": 5}
    assert extended(own, "here") == {"a": {"x": 1, "y": [3], "w": 4}, "c": {"z": 3}, "d": 5}


def test_a_model_of_another_source_replaces_the_one_that_it_extends(tmp_path):
    models = {"m": {"source": "hub", "id": "a/b", "revision": "x"}}
    base = write(tmp_path / "base.yaml", {"models": models})
    local = {"source": "local", "path": "here"}
    assert extended({"extends": base, "models": {"m": local}}, "here")["models"]["m"] == local
    same = {"source": "hub", "id": "a/c"}
    found = extended({"extends": base, "models": {"m": same}}, "here")["models"]["m"]
    assert found == {"source": "hub", "id": "a/c", "revision": "x"}
    found = extended({"extends": base, "models": {"m": {"threads": 2}}}, "here")["models"]["m"]
    assert found == {**models["m"], "threads": 2}


def test_files_extend_files(tmp_path):
    first = write(tmp_path / "first.yaml", {"a": 1, "b": 1, "c": 1})
    second = write(tmp_path / "second.yaml", {"extends": first, "b": 2, "c": 2})
    assert extended({"extends": second, "c": 3}, "here") == {"a": 1, "b": 2, "c": 3}


def test_a_circle_is_refused(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    write(one, {"extends": str(two)})
    write(two, {"extends": str(one)})
    with pytest.raises(ConfigError, match="extends itself"):
        extended(read_mapping(one), "here")


@pytest.mark.parametrize(
    ("base", "message"), [("nowhere.yaml", "cannot read the preset"), (3, "the path of a file")]
)
def test_what_cannot_be_extended_is_named(base, message):
    assert message in error_of({**BASE, "extends": base})


def test_a_whole_preset_extends_another(tmp_path):
    base = write(tmp_path / "base.yaml", BASE)
    path = tmp_path / "own.yaml"
    own = {"extends": base, "preset": "own", "training": {"steps": 6}}
    write(path, {**own, "experiments": {"table2": None}})
    preset = plan.load(path)
    assert (preset.preset, preset.training.steps, preset.training.prompts) == ("own", 6, 8)
    assert list(preset.experiments) == ["table1"]


def test_inherited_experiments_without_models_are_left_out_with_their_claims(tmp_path):
    rule = {"statement": "x", "measure": "difference", "methods": ["gain"], "threshold": 0}
    templates = {"table1": {"methods": ["grpo", "gain"]}, "table2": {"methods": ["grpo", "gain"]}}
    claims = {name: {**rule, "experiment": name} for name in templates}
    base = write(tmp_path / "base.yaml", {"experiments": templates, "claims": claims})
    here = {"models": ["nano"], "datasets": ["chain"]}
    own = {**BASE, "extends": base, "experiments": {"table1": here}}
    preset = plan.load(own)
    assert list(preset.experiments) == list(preset.claims) == ["table1"]
    own["experiments"]["table2"] = {"figure": "curves"}
    assert "experiments.table2.models: Field required" in error_of(own)


def test_a_policys_parameters_hold_for_every_method_that_says_nothing_else():
    data = changed("curricula", to={"gain": {"step": 0.1, "alpha": 3.0}})
    data["methods"]["other"] = {"curriculum": "gain", "order": "length"}
    preset = plan.load(data)
    assert preset.methods["gain"].curriculum.parameters == {"step": 0.1, "alpha": 1.5}
    assert preset.methods["other"].curriculum.parameters == {"step": 0.1, "alpha": 3.0}
    assert preset.methods["grpo"].curriculum.parameters == {}
    again = plan.load(json.loads(preset.model_dump_json()))
    assert again == preset


@pytest.mark.parametrize(
    ("curricula", "message"),
    [
        ({"gain": {"stepp": 1.0}}, "has no parameter 'stepp'"),
        ({"gian": {"step": 1.0}}, "curricula.gian: unknown curriculum 'gian'"),
    ],
)
def test_parameters_of_no_policy_are_refused(curricula, message):
    assert message in error_of(changed("curricula", to=curricula))
