"""The reference page and the JSON schema are those of the code, and the presets keep to them."""

from __future__ import annotations

import json

import pytest
import yaml
from jsonschema import Draft7Validator
from presets import PRESETS, REPOSITORY

from gainrl import plan
from gainrl.plan import reference

FILES = [REPOSITORY / "workflow" / "definitions.yaml", *PRESETS]


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    schema = json.loads((REPOSITORY / reference.SCHEMA).read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def test_the_reference_is_that_of_the_code() -> None:
    stale = "run `make reference`"
    assert (REPOSITORY / reference.PAGE).read_text(encoding="utf-8") == reference.page(), stale
    schema = json.loads((REPOSITORY / reference.SCHEMA).read_text(encoding="utf-8"))
    assert schema == reference.file_schema(), stale


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_preset_names_the_schema_and_keeps_to_it(path, validator) -> None:
    text = path.read_text(encoding="utf-8")
    first, named = text.splitlines()[0].split("=")
    assert first == "# yaml-language-server: $schema"
    assert (path.parent / named).resolve() == REPOSITORY / reference.SCHEMA
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_a_whole_preset_with_its_defaults_keeps_to_the_schema(path, validator) -> None:
    whole = plan.load(path).model_dump(mode="json", by_alias=True)
    assert [error.message for error in validator.iter_errors(whole)] == []


@pytest.mark.parametrize(
    "data",
    [
        {"sedes": [0]},
        {"training": {"learning_rate": 1e-6}},
        {"training": {"lr": 2}},
        {"datasets": {"word": {"source": "generate", "rows": 5}}},
        {"datasets": {"word": {"source": "internet"}}},
        {"methods": {"mine": {"curriculum": {"name": "gain", "alhpa": 1}}}},
        {"methods": {"mine": {"curriculum": "gian"}}},
        {"methods": {"mine": {"curriculum": {"sampler": "gian"}}}},
        {"methods": {"mine": {"curriculum": {"sampler": "gain", "filtre": "mixed"}}}},
        {"methods": {"mine": {"curriculum": {"sampler": "gain", "filter": "uniform"}}}},
        {"curricula": {"gain": {"step": "fast"}}},
        {"overrides": {"word": {"training": {"stpes": 3}}}},
        {"protocols": {"mine": {"benchmarks": {"aime24": {"sampels": 3}}}}},
    ],
    ids=json.dumps,
)
def test_the_schema_refuses_what_a_preset_may_not_say(data, validator) -> None:
    assert not validator.is_valid(data)
