"""What is public is what it was, and its pages of reference are made from it."""

from __future__ import annotations

import importlib
import inspect
import json

import pytest
from presets import REPOSITORY

from gainrl.plan import public

RENEW = "if that is meant: `make reference`, and say it in CHANGELOG.md"


def test_nothing_public_has_changed_unnoticed():
    known = json.loads((REPOSITORY / public.SNAPSHOT).read_text(encoding="utf-8"))
    found = public.snapshot()
    for piece in public.PIECES:
        for name in {*known[piece], *found[piece]}:
            before, now = known[piece].get(name), found[piece].get(name)
            assert before == now, f"gainrl.{piece}.{name} was {before}, is {now}; {RENEW}"
    assert known == found


@pytest.mark.parametrize("piece", public.PIECES)
def test_the_pages_are_those_of_the_code(piece):
    page = (REPOSITORY / public.FOLDER / f"{piece}.md").read_text(encoding="utf-8")
    assert page == public.page(piece), "run `make reference`"


def test_the_page_of_commands_is_that_of_the_code():
    page = (REPOSITORY / public.FOLDER / "cli.md").read_text(encoding="utf-8")
    assert page == public.commands(), "run `make reference`"


@pytest.mark.parametrize("piece", public.PIECES)
def test_everything_public_says_what_it_is(piece):
    module = importlib.import_module(f"gainrl.{piece}")
    assert len(module.__all__) == len(set(module.__all__))
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__module__.startswith("gainrl."), name
            assert inspect.getdoc(found), name


def test_a_change_of_a_signature_or_of_a_method_is_seen():
    def one(a, b=1): ...
    def other(a, b=2): ...

    class Kept:
        def method(self, a): ...

    class Changed:
        def method(self, a, b): ...

    assert public._shape(one) != public._shape(other)
    Kept.__module__ = Changed.__module__ = "gainrl.test"
    assert public._shape(Kept)["method"] == "(self, a)"
    assert public._shape(Changed)["method"] == "(self, a, b)"


def test_arguments_become_a_list_and_long_lines_are_split():
    doc = (
        "What.\n\nArgs:\n    one: first,\n        goes on.\n    two: second.\n\nRaises:\n    E: no."
    )
    assert public._prose(doc) == (
        "What.\n\n**Args**\n\n- `one`: first,\n  goes on.\n- `two`: second.\n\n"
        "**Raises**\n\n- `E`: no."
    )
    assert public._split("a: 'dict[str, int]', b=(1, 2)") == ["a: 'dict[str, int]'", "b=(1, 2)"]
