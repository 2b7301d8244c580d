"""What the tests of this folder start from; they import place.py, which lies beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import place as places
import pytest


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Everything before training, made once; `places.Place.like` starts from a copy of it."""
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = tmp_path_factory.mktemp("prepared")
    made = places.Place(folder, places.preset(folder))
    made.prepare()
    return made
