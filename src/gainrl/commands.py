"""How a subcommand of the command line is declared, and what running it imports."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from gainrl import extras
from gainrl.errors import TrackingError
from gainrl.models.imports import uncollected

if TYPE_CHECKING:
    from gainrl.stages.common import Context


INIT = "gainrl tracking init"
"""What errors of the tracking store ask for."""


@dataclass(frozen=True)
class Option:
    """An argument as argparse takes it."""

    flags: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """A subcommand.

    function: what it calls, by import path or as an object of this file. options: its arguments,
    in its order. preset: it has the options --preset and --root too, and `function` gets the
    `Context` that they make before all others. extra: of the package, with what it needs. alone: of
    two processes with the same options, one left behind by a killed Snakemake is ended, and else
    the second stops (`gainrl.owner`).
    """

    name: str
    help: str
    function: str | Callable[..., int | None]
    options: tuple[Option, ...]
    preset: bool
    extra: str = "pipeline"
    alone: bool = False

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's options to its parser."""
        for each in self.all_options():
            parser.add_argument(*each.flags, **each.settings)

    def all_options(self) -> tuple[Option, ...]:
        """Its own, behind those of every command with a preset."""
        return (*(PRESET if self.preset else ()), *self.options)

    def run(self, given: dict[str, Any]) -> int:
        """Call the command's function and return the exit code: what it returns, else 0.

        `given` has the options in the order of declaration.

        Raises:
            ExtraError: a library is missing.
        """
        with extras.wanted(self.extra):
            return self._run(given)

    def _run(self, given: dict[str, Any]) -> int:
        first: tuple[Any, ...] = ()
        init = INIT
        if self.preset:
            source, root = given.pop("preset"), given.pop("root")
            init += f" --preset {quote(source)}" + (f" --root {quote(str(root))}" if root else "")
            first = (context_of(source, root, **given),)
        with uncollected():
            path = self.function
            function = imported(path) if isinstance(path, str) else path
        try:
            with self._owned(*first, *given.values()) if self.alone else nullcontext():
                code: int | None = function(*first, *given.values())
        except TrackingError as error:  # which knows no options
            raise TrackingError(str(error).replace(INIT, init)) from error
        return code or 0

    def _owned(self, context: Context, *values: Any) -> AbstractContextManager[None]:
        from gainrl.owner import owned

        name = "+".join(map(str, (self.name, *values))).replace("/", "+")
        return owned(context.layout.home / f".{name}.owner.json")


def option(*flags: str, **settings: Any) -> Option:
    """An option; `settings` are those of `argparse.ArgumentParser.add_argument`."""
    return Option(flags, settings)


def command(
    name: str,
    help_: str,
    function: str | Callable[..., int | None],
    *options: str | Option,
    preset: bool = True,
    extra: str = "pipeline",
    alone: bool = False,
) -> Command:
    """A command; an option that is a plain name is required, and its value is a name or path."""
    full = (
        option(f"--{each}", required=True, type=_TYPES.get(each, str))
        if isinstance(each, str)
        else each
        for each in options
    )
    return Command(name, help_, function, tuple(full), preset, extra, alone)


def imported(path: str) -> Any:
    """What an import path below this package, 'module:name', names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(f"gainrl.{module}"), name)


def context_of(source: str, root: Path | None, **named: Any) -> Context:
    """The checked preset and its files; what the options name is in it, and the process has its
    arithmetic (ConfigError).

    Args:
        root: of the results; None is results, or where `source` lies if it is a resolved preset.
    """
    from gainrl import plan
    from gainrl.config import arithmetic

    preset = plan.load(source)
    plan.check_names(preset, named)
    arithmetic.check(preset.arithmetic)
    from gainrl.stages.common import Context  # after the preset, whose errors come at once

    if root is None:
        path = Path(source)
        resolved = plan.Layout(preset.preset, path.parent.parent).resolved == path
        root = path.parent.parent if resolved else Path("results")
    return Context(preset, root)


_TYPES = {"seed": int, "out": Path, "curriculum": Path}
PRESET = (
    option("--preset", required=True, help="config.yaml or experiments/*.yaml"),
    option("--root", type=Path, help="default: results, or where a resolved preset lies"),
)
