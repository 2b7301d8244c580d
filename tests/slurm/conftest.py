"""One cluster for all tests of this folder; they import pretend.py, which lies beside them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "verl")]

from pretend import pretend  # noqa: E402


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """The environment of a user of the cluster; the cluster ends with the session."""
    with pretend(1) as environment:
        yield environment
