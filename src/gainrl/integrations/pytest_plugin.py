"""pytest with the contract of curricula: a test for each check and each policy that it is told of.

    pytest --curriculum my_module:MyPolicy
    pytest --curriculum '{"name": "my_module:MyPolicy", "floor": 0.1}'

or, in pytest's configuration, `gainrl_curricula`, a line for each policy.
"""

from __future__ import annotations

import json
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option and the key of the configuration."""
    said = (
        "a policy that is to keep gainrl's contract: a name, module:Class, or JSON as in a preset"
    )
    parser.getgroup("gainrl").addoption("--curriculum", action="append", default=[], help=said)
    parser.addini("gainrl_curricula", said, type="linelist", default=[])


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the tests, after all others."""
    told = [*config.getoption("--curriculum"), *config.getini("gainrl_curricula")]
    if told:
        from gainrl.curricula.contract import CHECKS

        items += [
            Contract.from_parent(
                session, name=f"{policy}::{check.__name__}", policy=policy, check=check
            )
            for policy in told
            for check in CHECKS
        ]


class Contract(pytest.Item):
    """A check of a policy."""

    def __init__(self, *, policy: str, check: Any, **more: Any) -> None:
        super().__init__(**more)
        self.policy, self.check = policy, check

    def runtest(self) -> None:
        """Run it."""
        self.check(json.loads(self.policy) if self.policy.startswith("{") else self.policy)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """The reason alone, where it is one."""
        from gainrl.errors import UserError

        if isinstance(excinfo.value, AssertionError | UserError):
            return f"{self.policy}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int, str]:
        """Where it stands in the report."""
        return self.path, 0, self.name
