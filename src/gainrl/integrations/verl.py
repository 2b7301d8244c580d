"""The curricula in verl, by one variable and two keys of a user's own command.

    VERL_USE_EXTERNAL_MODULES=gainrl.integrations.verl python -m verl.trainer.main_ppo ... \\
        trainer.v1.trainer_mode=gainrl +gainrl.curriculum=mopps

verl imports this module in each of its processes, when it has only begun to be imported itself. So
all that is done here is to see to it that the trainer is registered once verl's own trainers are.
docs/verl-plugin.md has the rest.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

TRAINERS = "verl.trainer.ppo.v1.trainer_sync"
"""The module of verl's that registers the trainer that ours extends."""
PLUGIN = "gainrl.training.verl.plugin"


class AfterImport(importlib.abc.MetaPathFinder):
    """Imports our plug-in right after verl's trainer, once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as everybody finds it, whose execution ends with the plug-in's import."""
        if fullname != TRAINERS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            importlib.import_module(PLUGIN)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Register the trainer `gainrl` as soon as verl's trainers are there."""
    if TRAINERS in sys.modules:
        importlib.import_module(PLUGIN)
    elif not any(isinstance(each, AfterImport) for each in sys.meta_path):
        sys.meta_path.insert(0, AfterImport())


install()
