"""From what a preset says to a curriculum: parts by name, by import path or by entry point."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from gainrl.config.errors import wrong
from gainrl.config.imported import imported
from gainrl.curricula.base import Setting
from gainrl.curricula.curriculum import Curriculum
from gainrl.curricula.parts import Allocation, Filter, Part, Sampler
from gainrl.errors import ConfigError, nearest

REGISTRY: dict[str, type[Sampler]] = {}
"""Samplers by name; those that bring a filter or an allocation are the shorthands of presets."""
FILTERS: dict[str, type[Filter]] = {Filter.name: Filter}
ALLOCATIONS: dict[str, type[Allocation]] = {Allocation.name: Allocation}
GROUP = "gainrl.curricula"
"""Entry points of other packages, for parts of any kind."""
NEEDS = {
    "order": "the method's key 'order'",
    "difficulty": "the method's key 'difficulty'",
    "categories": "a data set with the column 'category'",
    "features": "prefill scores",
}
"""What a sampler may list in `needs`, and what that asks for."""

Spec = str | Mapping[str, Any]
"""A part: its name, or a mapping with `name` and its parameters."""
Registered = TypeVar("Registered", bound=type[Part])


@dataclasses.dataclass(frozen=True)
class _Kind:
    """What may stand at a key of a composition. noun: in messages."""

    noun: str
    base: type[Part]
    known: dict[str, Any]


_KINDS = {
    "sampler": _Kind("curriculum", Sampler, REGISTRY),
    "filter": _Kind("filter", Filter, FILTERS),
    "rollouts": _Kind("allocation", Allocation, ALLOCATIONS),
}


def register(name: str) -> Callable[[Registered], Registered]:
    """Class decorator: make a part available to presets under `name`."""

    def add(part: Registered) -> Registered:
        (kind,) = (kind for kind in _KINDS.values() if issubclass(part, kind.base))
        if name in kind.known:
            raise ValueError(f"{kind.noun} '{name}' is registered twice")
        part.name = name
        kind.known[name] = part
        return part

    return add


def compose(spec: Spec | Mapping[str, Spec | None], key: str = "curriculum") -> Curriculum:
    """A curriculum that has not started, from the key `curriculum` of a method.

    Args:
        spec: a sampler's name; a mapping with `name` and its parameters; or a mapping with
            `sampler` and perhaps `filter` and `rollouts`, each of them a part.
        key: where the preset says so, for the error message.

    Raises:
        ConfigError: an unknown part or parameter, a value that a part refuses, or parts that do not
            go together.
    """
    if isinstance(spec, str) or "name" in spec:
        spec, composed = {"sampler": spec}, False
    else:
        composed = True
        _check_parts(spec, key)
    parts = {
        part: _part(kind, spec[part], f"{key}.{part}" if composed else key)
        for part, kind in _KINDS.items()
        if spec.get(part) is not None
    }
    try:
        return Curriculum(parts["sampler"], parts.get("filter"), parts.get("rollouts"))
    except ValueError as error:
        raise ConfigError(f"{key}: curriculum '{parts['sampler'].name}': {error}") from error


def _check_parts(spec: Any, key: str) -> None:
    """Refuse what is no composition (ConfigError); a preset was checked when it was read."""
    if not isinstance(spec, Mapping) or spec.get("sampler") is None:
        raise ConfigError(f"{key}: {spec!r} names no sampler")
    for part in spec:
        if part not in _KINDS:
            raise ConfigError(
                f"{key}: no part of a curriculum is a '{part}'{nearest(part, _KINDS)}"
            )


def build(spec: Spec | Mapping[str, Spec | None], setting: Setting) -> Curriculum:
    """Build a curriculum for a training table; it is given nothing that it does not need.

    Raises:
        ConfigError: as `compose`; or the sampler needs an order or difficulties that are not there,
            or the batch is larger than the table.
    """
    curriculum = compose(spec)
    for need in sorted(curriculum.sampler.needs):
        if need not in NEEDS:
            reason = f"cannot be given '{need}'{nearest(need, NEEDS)}"
            raise ConfigError(f"curriculum '{curriculum.name}' {reason}")
        if getattr(setting, need) is None:
            raise ConfigError(f"curriculum '{curriculum.name}' needs {NEEDS[need]}")
    if setting.batch > setting.size:
        raise ConfigError(
            f"training.prompts is {setting.batch}, but the data set has {setting.size} prompts"
        )
    asked = curriculum.sampler.needs
    unasked: dict[str, Any] = dict.fromkeys(need for need in NEEDS if need not in asked)
    curriculum.start(dataclasses.replace(setting, **unasked))
    return curriculum


def check_defaults(name: str, parameters: Mapping[str, Any], key: str) -> None:
    """Check parameters that a preset gives for a part wherever it is used (ConfigError)."""
    kind = next((kind for kind in _KINDS.values() if name in kind.known), _KINDS["sampler"])
    _part(kind, {**parameters, "name": name}, key)


def _part(kind: _Kind, spec: Any, key: str) -> Any:
    """One part with its parameters, which are checked by name and type first."""
    spec = {"name": spec} if isinstance(spec, str) else spec
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise ConfigError(
            f"{key}: {spec!r} is neither the name of a {kind.noun} nor a mapping with it"
        )
    spec = dict(spec)
    name = spec.pop("name")
    part = _find(kind, name, key)
    where = f"{key}: {kind.noun} '{name}'"
    known = parameters_of(part)
    for parameter in spec:
        if parameter not in known:
            hint = nearest(parameter, known) or "; it takes no parameters"
            raise ConfigError(f"{where} has no parameter '{parameter}'{hint}")
    hints, strict = get_type_hints(part), ConfigDict(strict=True, allow_inf_nan=False)
    for parameter, value in spec.items():
        try:
            TypeAdapter(hints[parameter], config=strict).validate_python(value)
        except ValidationError as error:
            raise ConfigError(f"{where}: '{parameter}' {wrong(error.errors()[0])}") from error
    try:
        return part(**spec)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error
    except Exception as error:  # whatever somebody else's class may raise
        raise ConfigError(f"{where}: {type(error).__name__}: {error}") from error


def parameters_of(part: type[Part]) -> dict[str, Any]:
    """Parameters of a part in a preset, and their defaults."""
    if not dataclasses.is_dataclass(part):
        return {}
    return {field.name: field.default for field in dataclasses.fields(part) if field.init}


def _find(kind: _Kind, name: str, key: str) -> type[Part]:
    if name in kind.known:
        return kind.known[name]
    if ":" in name:
        found = imported(name, key)
    elif outside := list(entry_points(group=GROUP, name=name)):
        found = imported(outside[0].value, key)
    else:
        raise ConfigError(f"{key}: unknown {kind.noun} '{name}'{nearest(name, kind.known)}")
    if not (isinstance(found, type) and issubclass(found, kind.base)):
        raise ConfigError(f"{key}: '{name}' is no {GROUP}.{kind.base.__name__}")
    return found


def discover() -> None:
    """Import every module of this package, so that each part registers itself."""
    package = importlib.import_module("gainrl.curricula")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"gainrl.curricula.{module.name}")
