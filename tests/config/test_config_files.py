"""Presets that extend a file, and parameters that a preset gives to a whole policy."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml
from presets import BASE, REPOSITORY, changed, error_of

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
    ("base", "message"),
    [
        ("nowhere.yaml", "config: extends: there is no nowhere.yaml; a relative path is one of"),
        (3, "the path of a file"),
    ],
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
    assert "experiments.table2.models: is missing" in error_of(own)


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


# --- keys that stand twice -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("preset: own\nseeds: [0]\nseeds: [1]\n", "seeds", "2 and 3"),
        ("methods:\n  grpo: {curriculum: uniform}\n  'grpo': {}\n", "grpo", "2 and 3"),
        ("a: {x: 1, y: 2,\n  x: 3}\n", "x", "1 and 2"),
        ("- 1\n- {y: [{x: 1, x: 1}]}\n", "x", "2 and 2"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path, text, key, lines):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    said = f"{path}: not valid YAML: the key '{key}' stands twice, in lines {lines}: keep one"
    assert error_of(path) == said
    assert error_of({**BASE, "extends": str(path)}) == said


def test_so_is_one_of_json(tmp_path):
    path = tmp_path / "own.json"
    path.write_text('{"preset": "own", "a": {"x": 1, "x": 2}}')
    assert error_of(path) == f"{path}: not valid JSON: the key 'x' stands there twice: keep one"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "preset: own\npreset: other\n",
            "not valid YAML: the key 'preset' stands twice, in lines 1",
        ),
        ("preset: own\nseeds: [0]\ndatasets: {}\n", "models: is missing"),
    ],
)
def test_snakemake_which_reads_presets_itself_says_the_same(tmp_path, text, said):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    command = ["snakemake", "-n", "--snakefile", str(REPOSITORY / "workflow" / "Snakefile")]
    done = subprocess.run(
        [*command, "--configfile", "own.yaml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert f"gainrl: {path}: {said}" in done.stdout + done.stderr


def test_anchors_and_merges_are_no_repetition(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\nd: *a\n")
    once = {"x": 1, "y": 1}
    assert read_mapping(path) == {
        "a": once,
        "b": {"x": 2, "y": 1},
        "c": {"x": 3, "y": 1},
        "d": once,
    }


# --- errors say whose they are -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"grpo": {"curriculum": "unifrom"}}, "methods.grpo.curriculum: unknown curriculum"),
        ({"grpo": {"curriculum": {"name": "gain", "alfa": 1}}}, "methods.grpo.curriculum: "),
        ({"grpo": {"curriculum": "gain"}}, "methods.grpo: curriculum 'gain' needs the key 'order'"),
        ({"grpo": {"curriculum": "uniform", "algorithm": "gpro"}}, "methods.grpo.algorithm: "),
    ],
)
def test_every_error_of_a_preset_begins_with_its_path(tmp_path, methods, said):
    path = write(tmp_path / "own.yaml", {**BASE, "methods": {**BASE["methods"], **methods}})
    assert error_of(path).startswith(f"{path}: {said}")


def test_a_base_that_is_not_there_says_who_extends_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "base.yaml", {"extends": "workflow/definitions.yaml"})
    own = write(tmp_path / "own.yaml", {"extends": "base.yaml"})
    assert error_of(own) == (
        "base.yaml: extends: there is no workflow/definitions.yaml; a relative path is one of the "
        f"working folder, here {tmp_path}: call this in the root of the clone"
    )


def test_an_inherited_claim_that_does_not_fit_says_where_it_is_from(tmp_path):
    claim = {"statement": "x", "measure": "difference", "methods": ["gain"], "threshold": 0}
    claims = {"steps": {**claim, "experiment": "table1"}}
    base = write(tmp_path / "base.yaml", {**BASE, "claims": claims})
    own = {"extends": base, "experiments": {"table1": {"methods": ["grpo"]}}}
    path = write(tmp_path / "own.yaml", own)
    assert error_of(path) == (
        f"{path}: claims.steps.methods: unknown name 'gain'; known: grpo (from {base}, which this "
        "extends; `claims: {steps: null}` takes it out)"
    )
    assert plan.load({**own, "claims": {"steps": None}}).claims == {}
    assert "extends" not in error_of({**own, "claims": claims})
