"""Numbers, draws and plans are as they were: docs of `record.py` say how to renew them."""

from __future__ import annotations

import copy
import json

import pytest
from record import RECORDERS, compare, differences, read, write


@pytest.mark.parametrize("name", RECORDERS)
def test_nothing_has_changed(name):
    found = compare(name, RECORDERS[name]())
    assert not found, "\n".join(found[:40])


@pytest.mark.parametrize("name", RECORDERS)
def test_a_file_is_written_as_it_was_read(name, tmp_path, monkeypatch):
    stored = read(name)
    monkeypatch.setattr("record.HERE", tmp_path)
    monkeypatch.setattr("record.machine", lambda: stored["machine"])
    write(name, stored["recorded"])
    assert read(name) == stored


def test_every_kind_of_change_is_found():
    stored = read("training")["recorded"]
    changed = copy.deepcopy(stored)
    step = changed["grpo"]["steps"][1]
    step["rows"][0] += 1
    step["record"]["loss"] *= 1.01
    step["record"]["steps"] = 3
    del changed["ppo"]["weights"]
    for exact in (True, False):
        lines = "\n".join(differences(stored, changed, exact))
        for place in ("grpo/steps/1/rows/0", "record/loss", "record/steps: new", "weights: gone"):
            assert place in lines
    slight = json.loads(json.dumps(stored))
    slight["grpo"]["steps"][0]["record"]["accuracy"] += 1e-9
    assert list(differences(stored, slight, exact=True))
    assert not list(differences(stored, slight, exact=False))
