"""Renew the trajectories, or with --check say what differs: python tests/trajectories/record.py.

They show that a change of the code changes no number. Renew them only where a change is meant to,
and say so in its commit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from plans import plans
from simulator import simulator
from training import training

from gainrl.config import arithmetic

HERE = Path(__file__).parent
RECORDERS: dict[str, Callable[[], dict[str, Any]]] = {
    "plans": plans,
    "simulator": simulator,
    "training": training,
}
ELSEWHERE = 1e-3
"""How far floats may be off, relatively, on another kind of CPU or with another torch."""


def machine() -> dict[str, str]:
    """What floating-point sums depend on."""
    return {"cpu": arithmetic.processor(), "torch": torch.__version__}


def read(name: str) -> dict[str, Any]:
    """A stored file: `machine` and `recorded`."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def write(name: str, recorded: dict[str, Any]) -> None:
    """Store what was recorded, so that two recordings on a machine give equal bytes."""
    text = json.dumps({"machine": machine(), "recorded": recorded}, indent=0, sort_keys=True)
    (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def differences(stored: Any, found: Any, exact: bool, place: str = "") -> Iterator[str]:
    """One line for every number, name or digest that is not as it was."""
    if isinstance(stored, dict) and isinstance(found, dict):
        for key in sorted({*stored, *found}):
            at = f"{place}/{key}"
            if key not in found or key not in stored:
                yield f"{at}: {'gone' if key in stored else 'new'}"
            else:
                yield from differences(stored[key], found[key], exact, at)
    elif isinstance(stored, list) and isinstance(found, list) and len(stored) == len(found):
        for i, (old, new) in enumerate(zip(stored, found, strict=True)):
            yield from differences(old, new, exact, f"{place}/{i}")
    elif isinstance(stored, float) and isinstance(found, float) and not exact:
        if abs(stored - found) > ELSEWHERE * max(abs(stored), 1e-3):
            yield f"{place}: was {stored!r}, is {found!r}"
    elif stored != found or type(stored) is not type(found):
        yield f"{place}: was {stored!r}, is {found!r}"


def compare(name: str, recorded: dict[str, Any]) -> list[str]:
    """What differs from the stored file: exactly on its machine, but for rounding elsewhere."""
    stored = read(name)
    found = json.loads(json.dumps(recorded))  # tuples are lists there
    return list(differences(stored["recorded"], found, stored["machine"] == machine()))


def main() -> int:
    """Renew or check; exit code 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*RECORDERS, []], help="default: all")
    parser.add_argument("--check", action="store_true", help="write nothing, print differences")
    arguments = parser.parse_args()
    different = 0
    for name in arguments.names or RECORDERS:
        recorded = RECORDERS[name]()
        if not arguments.check:
            write(name, recorded)
            continue
        for line in compare(name, recorded):
            print(f"{name}{line}")
            different = 1
    return different


if __name__ == "__main__":
    sys.exit(main())
