"""What a fingerprint leaves out: keys at their absent value, and that no new key is forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
from presets import BASE, changed
from pydantic import Field
from pydantic.fields import FieldInfo

from gainrl import plan
from gainrl.config.base import Absent, Section
from gainrl.config.preset import Preset

FIRST = Path(__file__).with_name("fingerprint_keys.json")
"""By section, the keys that fingerprints always name."""


def sections(start: type[Section]) -> dict[str, type[Section]]:
    """A section and all that it is made of, by name."""
    found, ahead = {}, [start]
    while ahead:
        section = ahead.pop()
        if section.__name__ in found:
            assert found[section.__name__] is section, f"two sections {section.__name__}"
            continue
        found[section.__name__] = section
        annotations: list[Any] = [field.annotation for field in section.model_fields.values()]
        while annotations:
            each = annotations.pop()
            if isinstance(each, type) and issubclass(each, Section):
                ahead.append(each)
            annotations += get_args(each)
    return found


def marked(field: FieldInfo) -> bool:
    return any(isinstance(mark, Absent) for mark in field.metadata)


def test_every_key_has_an_absent_value_or_was_there_from_the_first():
    first = json.loads(FIRST.read_text(encoding="utf-8"))
    # The preset itself is in no fingerprint: each names the sections that it reads.
    found = {name: each for name, each in sections(Preset).items() if each is not Preset}
    always = {
        name: sorted(key for key, field in each.model_fields.items() if not marked(field))
        for name, each in found.items()
    }
    new = [f"{key} of {name}" for name in always for key in always[name]]
    new = [each for each in new if each not in {f"{k} of {n}" for n in first for k in first[n]}]
    assert not new, (
        f"new: {', '.join(new)}. A new key changes the hash of all that reads its section: declare "
        f"its absent value (`Annotated[..., Absent()]`), or add it to {FIRST.name} and say in the "
        "changelog what reruns"
    )
    assert always == first, f"keys are gone, or have got an absent value: mend {FIRST.name}"


class Part(Section):
    old: int = 1
    new: Annotated[int | None, Absent(also=(0,))] = None


class Whole(Section):
    parts: tuple[Part, ...] = ()
    by_name: Annotated[dict[str, Part], Absent()] = Field(default_factory=dict)


def test_a_key_at_its_absent_value_is_not_named_at_any_depth():
    assert Whole().fingerprint() == {"parts": []}
    whole = Whole(parts=(Part(), Part(new=0), Part(new=2)), by_name={"a": Part(old=3)})
    assert whole.fingerprint() == {
        "parts": [{"old": 1}, {"old": 1}, {"old": 1, "new": 2}],
        "by_name": {"a": {"old": 3}},
    }
    assert whole.fingerprint(exclude={"parts"}) == {"by_name": {"a": {"old": 3}}}
    assert whole.fingerprint(include={"parts"})["parts"][2] == {"old": 1, "new": 2}


def test_a_dump_names_every_key():
    assert Whole(parts=(Part(),)).model_dump() == {
        "parts": ({"old": 1, "new": None},),
        "by_name": {},
    }


@pytest.mark.parametrize(
    ("path", "absent", "given"),
    [
        (("training",), {"extra": None}, {"extra": {"rl": 2, "jump": 3}}),
        (("training",), {"templates": []}, {"templates": ["Solve: {question}"]}),
        (("training",), {"format_weight": 0.0}, {"format_weight": 0.5}),
        (
            ("training",),
            {"downsample": None},
            {"downsample": {"rollouts": [1, 0.5], "tokens": [1, 0.5]}},
        ),
        (
            ("methods", "grpo"),
            {"training": {"templates": [], "format_weight": 0}},
            {"training": {"templates": ["Solve: {question}"]}},
        ),
        (
            ("models", "nano"),
            {"template_arguments": {}},
            {"template_arguments": {"enable_thinking": False}},
        ),
        (("datasets", "chain"), {"careful": 0, "pool": None}, {"pool": {"long": 0.5}}),
    ],
)
def test_what_is_written_at_its_absent_value_reruns_nothing(path, absent, given):
    def depends(changes):
        section = BASE
        for key in path:
            section = section[key]
        preset = plan.load(changed(*path, to={**section, **changes}))
        run = plan.run_slice(preset, "nano", "chain", "grpo")
        return [run, plan.model_slice(preset, "nano"), plan.dataset_slice(preset, "chain")]

    assert depends(absent) == depends({})
    assert depends(given) != depends({})
