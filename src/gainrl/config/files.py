"""From files to the mapping that a preset is checked from: YAML or JSON, and what it extends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from gainrl.errors import ConfigError

EXTENDS = "extends"
INHERITED = ("claims", "experiments")
"""Keys whose entries come along with a file that is extended, and can be taken out one by one."""
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """As yaml.SafeLoader, which of two equal keys takes the last one and says nothing."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written: what `<<` brings is not among its keys yet."""
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise yaml.YAMLError(
                    f"the key '{key.value}' stands twice, in lines {lines[name]} and {line}: "
                    "keep one"
                )
            lines[name] = line
        return node


def read_yaml(text: str) -> Any:
    """What a text in YAML says.

    Raises:
        YAMLError: it is none, or a mapping has a key twice.
    """
    return yaml.load(text, _Loader)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON, each key of which stands there once (ValueError)."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key '{key}' stands there twice: keep one")
        found[key] = value
    return found


def read_mapping(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read one YAML or JSON file.

    Raises:
        ConfigError: the file is missing, is not UTF-8 or YAML, has a key twice, or is no mapping.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot read the preset: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text (byte {error.start})") from error
    try:
        is_json = file.suffix == ".json"
        data = json.loads(text, object_pairs_hook=_once) if is_json else read_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        kind, reason = "JSON" if is_json else "YAML", " ".join(str(error).split())
        raise ConfigError(f"{file}: not valid {kind}: {reason}") from error
    if data is None:
        raise ConfigError(f"{file}: is empty; a preset is a mapping of keys")
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: a preset is a mapping of keys, not {type(data).__name__}")
    return data


def extended(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a mapping says, on top of the file that its key `extends` names.

    Mappings are merged key by key, but not a model or data set of one source with that of another;
    everything else replaces what was there, and null takes it out.
    The path is relative to the working folder. An inherited experiment that was given no models and
    no data is left out, and so are the claims about it.

    Raises:
        ConfigError: as `read_mapping`, or the files extend each other in a circle.
    """
    whole = _extended(data, where, ())
    if EXTENDS not in data:
        return whole
    own, experiments = data.get("experiments"), whole.get("experiments")
    if not isinstance(experiments, dict):
        return whole
    mine = own if isinstance(own, dict) else {}
    empty = {
        name
        for name, spec in experiments.items()
        if name not in mine and isinstance(spec, dict) and not {"models", "datasets"} & set(spec)
    }
    whole["experiments"] = {k: v for k, v in experiments.items() if k not in empty}
    if isinstance(claims := whole.get("claims"), dict):
        whole["claims"] = {k: v for k, v in claims.items() if _subject(v) not in empty}
    return whole


def _subject(claim: Any) -> Any:
    return claim.get("experiment") if isinstance(claim, dict) else None


def _extended(data: Mapping[str, Any], where: str, seen: tuple[str, ...]) -> dict[str, Any]:
    own = {key: value for key, value in data.items() if key != EXTENDS}
    base = data.get(EXTENDS)
    if base is None:
        return own
    if not isinstance(base, str):
        raise ConfigError(f"{where}: {EXTENDS}: the path of a file, not {base!r}")
    if base in seen:
        raise ConfigError(f"{where}: {EXTENDS}: {base} extends itself")
    below = _extended(_base(base, where), base, (*seen, base))
    return _merged(below, own)


def _base(path: str, where: str) -> dict[str, Any]:
    """The file that another one extends."""
    if not Path(path).exists():
        raise ConfigError(
            f"{where}: {EXTENDS}: there is no {path}; a relative path is one of the working "
            f"folder, here {Path.cwd()}: call this in the root of the clone"
        )
    return read_mapping(path)


def inherited(problem: str, data: Mapping[str, Any]) -> str:
    """A problem of a preset, and which extended file its key is from, if it is not the preset's.

    Args:
        problem: begins with the key, of which the first two parts are looked for.
        data: the preset as it is written.
    """
    section, _, rest = problem.partition(":")[0].partition(".")
    name = rest.partition(".")[0]
    own = data.get(section)
    if not name or (isinstance(own, dict) and name in own):
        return problem
    for path, below in _bases(data):
        found = below.get(section)
        if isinstance(found, dict) and name in found:
            out = f"; `{section}: {{{name}: null}}` takes it out" if section in INHERITED else ""
            return f"{problem} (from {path}, which this extends{out})"
    return problem


def _bases(data: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The files that a preset extends, the nearest first."""
    while isinstance(path := data.get(EXTENDS), str):
        data = read_mapping(path)
        yield path, data


def with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Methods' curricula with the parameters that the key `curricula` gives for their parts."""
    defaults, methods = data.get("curricula"), data.get("methods")
    if not isinstance(defaults, dict) or not isinstance(methods, dict):
        return data
    filled = {}
    for name, method in methods.items():
        if isinstance(method, dict) and "curriculum" in method:
            spec = _with_parameters(method["curriculum"], defaults)
            if isinstance(spec, dict) and "name" not in spec:
                spec = {key: _with_parameters(part, defaults) for key, part in spec.items()}
            method = {**method, "curriculum": spec}
        filled[name] = method
    return {**data, "methods": filled}


def _with_parameters(spec: Any, defaults: Mapping[str, Any]) -> Any:
    """One part of a curriculum, by name or with parameters of its own, which come first."""
    spec = {"name": spec} if isinstance(spec, str) else spec
    given = defaults.get(str(spec.get("name"))) if isinstance(spec, dict) else None
    return {**given, **spec} if isinstance(given, dict) else spec


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in own.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and _of_one_kind(result.get(key), value):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def _of_one_kind(base: Any, own: Mapping[str, Any]) -> bool:
    """Whether two values are mappings, and, where both say a source, of the same one."""
    if not isinstance(base, dict):
        return False
    return base.get("source", own.get("source")) == own.get("source", base.get("source"))
