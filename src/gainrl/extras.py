"""Libraries that not every installation has, and which extra of `pip install` brings them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from gainrl.errors import ExtraError

DISTRIBUTIONS = {"yaml": "pyyaml"}
"""Names of distributions that are not those of their modules."""


@contextmanager
def wanted(extra: str = "") -> Iterator[None]:
    """Say which extra to install if a library is missing in the block.

    Args:
        extra: the one to name, if it brings the library; else the first that does.

    Raises:
        ExtraError: an import failed for want of a library that some extra brings.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        found = extras_with(module)
        if not found:
            raise
        name = extra if extra in found else found[0]
        message = f"{module} is not installed: pip install 'gainrl[{name}]'"
        raise ExtraError(message, name=module) from error


def extras_with(module: str) -> list[str]:
    """Extras that bring a module's library, in the order of pyproject.toml.

    None if the package is not installed, which has no metadata then.
    """
    try:
        required = metadata.requires("gainrl") or []
    except metadata.PackageNotFoundError:
        return []
    brought: dict[str, set[str]] = {}
    for line in required:
        if extra := re.search(r"""extra\s*==\s*['"]([\w-]+)""", line):
            names = re.match(r"[\w.-]+", line), re.match(r"gainrl\[([^]]*)\]", line)
            below = names[1][1].split(",") if names[1] else []
            brought.setdefault(extra[1], set()).update(
                *(brought.get(each.strip(), set()) for each in below),
                {_normal(names[0][0])} if names[0] else set(),
            )
    library = _normal(DISTRIBUTIONS.get(module, module))
    return [extra for extra, libraries in brought.items() if library in libraries]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
