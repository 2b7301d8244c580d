"""The reference page and the JSON schema of presets, from the sections of `gainrl.config`.

`python -m gainrl.plan.reference` renews docs/config.md and docs/preset.schema.json in the working
folder, and those of the public pieces (`plan.public`); a test holds them against the code.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from gainrl.config.base import Section
from gainrl.config.files import EXTENDS
from gainrl.config.preset import Preset
from gainrl.curricula import registry
from gainrl.plan import public

PAGE, SCHEMA = Path("docs/config.md"), Path("docs/preset.schema.json")
HEAD = """\
# The keys of a preset

A preset is one YAML or JSON file; unknown keys are errors. What it says may be an addition to
another file: `extends` names that file, mappings are merged key by key, everything else replaces
what was there (a model or data set of another `source` does so too), and null takes it out. Paths
are relative to the working folder. This page and `docs/preset.schema.json`, which editors complete
and check keys by, are made from the docstrings in `src/gainrl/config/` by `make reference`.
"""
TAIL = """\
## Parameters of curricula

They stand beside `name` in a method's `curriculum` or in a part of it, or under the part's name in
`curricula`; [curricula.md](curricula.md) says what they mean.
"""
Node = dict[str, Any]


# --- the schema of a whole preset ----------------------------------------------------------------


def whole_schema() -> Node:
    """JSON schema of a preset once it is put together, with the fields' docstrings."""
    schema = Preset.model_json_schema()
    sections = {section.__name__: section for section in _subclasses(Section)}
    for name, node in ({"Preset": schema} | schema["$defs"]).items():
        if name not in sections:  # JsonValue: anything
            continue
        docs = _docstrings(sections[name])
        for field, found in sections[name].model_fields.items():
            entry = node["properties"][found.alias or field]
            entry["description"] = docs[field]
            entry.pop("title", None)
            if isinstance(entry.get("default"), dict):  # a section's; its own fields say theirs
                del entry["default"]
    return schema


def _subclasses(section: type[Section]) -> Iterator[type[Section]]:
    for below in section.__subclasses__():
        yield below
        yield from _subclasses(below)


def _docstrings(section: type[Section]) -> dict[str, str]:
    """The text under each field, those of its base classes included.

    Pydantic reads them too (`use_attribute_docstrings`), but at each import, for 0.1 s.
    """
    found = {}
    for base in reversed(section.__mro__[: section.__mro__.index(Section)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found[ast.unparse(field.target)] = " ".join(ast.literal_eval(text.value).split())
    return found


PARTS: dict[str, Mapping[str, Any]] = {
    "sampler": registry.REGISTRY,
    "filter": registry.FILTERS,
    "rollouts": registry.ALLOCATIONS,
}
"""Registered parts of curricula by the key that they may stand at."""
OUTSIDE = {"type": "string", "pattern": ":"}
"""Import path of a part that is not registered."""


def _parameters(kind: str) -> dict[str, dict[str, Node]]:
    """Registered part -> its parameters, each with a schema of its values."""
    found = {}
    for name, part in sorted(PARTS[kind].items()):
        hints = get_type_hints(part)
        found[name] = {
            key: {**TypeAdapter(hints[key]).json_schema(), "default": default}
            for key, default in registry.parameters_of(part).items()
        }
    return found


def _part(kind: str) -> list[Node]:
    """What may stand for a part: a name, or a mapping with it and its parameters."""
    parameters = _parameters(kind)
    return [
        {"enum": [*parameters]},
        *(_object({"name": {"const": name}, **own}) for name, own in parameters.items()),
        OUTSIDE,
        {
            "type": "object",
            "properties": {"name": OUTSIDE},
            "propertyNames": {"not": {"enum": [*PARTS]}},  # that is a composition
        },
    ]


# --- the schema of a file ------------------------------------------------------------------------


def file_schema() -> Node:
    """JSON schema of a preset's file: as it may add to another, no key is required, any is null."""
    schema = whole_schema()
    definitions, properties = schema["$defs"], schema["properties"]
    definitions["CurriculumPart"] = {
        "description": definitions["CurriculumPart"]["description"],
        "anyOf": _part("sampler"),
    }
    composed = definitions["Composition"]["properties"]
    for kind in PARTS:
        composed[kind] = {"description": composed[kind]["description"], "anyOf": _part(kind)}
    defaults = {name: own for kind in PARTS for name, own in _parameters(kind).items()}
    properties["curricula"] |= _object({name: _object(own) for name, own in defaults.items()})
    properties["overrides"]["additionalProperties"] = _object(
        {key: {"$ref": f"#/$defs/{key.capitalize()}"} for key in ("training", "evaluation")}
    )
    protocol = definitions["Protocol"]["properties"]
    sampled = {key: node for key, node in protocol.items() if key != "benchmarks"}
    protocol["benchmarks"]["additionalProperties"] = _object(sampled)
    _loosen(schema)
    properties[EXTENDS] = {
        "type": "string",
        "description": "Path of a file that this one adds to or changes, from the working folder.",
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema}


def _object(properties: dict[str, Node]) -> Node:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _loosen(node: Any) -> None:
    """Take out what only a whole preset has to fulfil, everywhere below a node."""
    if isinstance(node, list):
        for each in node:
            _loosen(each)
    if not isinstance(node, dict):
        return
    node.pop("required", None)
    node.pop("discriminator", None)  # 'source' may be said by the other file
    if "oneOf" in node:
        node["anyOf"] = node.pop("oneOf")
    for key, each in node.items():
        if key not in ("default", "enum"):
            _loosen(each)
    for key, each in node.get("properties", {}).items():
        if "const" not in each:
            node["properties"][key] = _or_null(each)
    if isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = _or_null(node["additionalProperties"])


def _or_null(node: Node) -> Node:
    """A value that an extending file may take out."""
    if node == {} or {"type": "null"} in node.get("anyOf", ()):
        return node
    if "enum" in node:  # beside its type, which it makes superfluous
        return {**{k: v for k, v in node.items() if k != "type"}, "enum": [*node["enum"], None]}
    if isinstance(node.get("type"), str):
        return {**node, "type": [node["type"], "null"]}
    said = {key: value for key, value in node.items() if key in ("description", "default")}
    rest = {key: value for key, value in node.items() if key not in said}
    choices = rest["anyOf"] if rest.keys() == {"anyOf"} else [rest]
    return {**said, "anyOf": [*choices, {"type": "null"}]}


# --- the page ------------------------------------------------------------------------------------


def page() -> str:
    """docs/config.md: a table for each section, then the parameters of the curricula."""
    schema = whole_schema()
    headings = dict(_headings(schema, schema["$defs"], ""))
    links = {name: f"[{name}](#{_slug(heading)})" for name, heading in headings.items()}
    parts = [HEAD, _table(schema, links)]
    for name, heading in headings.items():
        node = schema["$defs"][name]
        parts.append(f"## {heading}\n\n{inspect.cleandoc(node['description'])}\n")
        parts.append(_table(node, links))
    lines = ["| key | part | parameter | type | default |", "| --- | --- | --- | --- | --- |"]
    for kind in PARTS:
        for name, own in _parameters(kind).items():
            for key, node in own.items():
                shown = _cell(_type(node, links)), json.dumps(node["default"])
                lines.append(f"| `{kind}` | `{name}` | `{key}` | {shown[0]} | `{shown[1]}` |")
    return "\n".join([*parts, TAIL, *lines, ""])


def _headings(node: Node, definitions: Node, path: str) -> Iterator[tuple[str, str]]:
    """Each section's name with the first path that leads to it, depth first."""
    for key, entry in node["properties"].items():
        for name, below in _references(entry, f"{path}.{key}".lstrip(".")):
            if "properties" not in definitions[name]:
                continue
            source = definitions[name]["properties"].get("source", {}).get("const")
            yield name, f"{below}, source {source}" if source else below
            yield from _headings(definitions[name], definitions, below)


def _references(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Names of the sections that a value can hold, and where."""
    if "$ref" in node:
        yield node["$ref"].rpartition("/")[2], path
    for each in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _references(each, path)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from _references(node[key], f"{path}.{'N' if key == 'items' else 'NAME'}")


def _slug(heading: str) -> str:
    """The anchor that Markdown's readers give a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _table(node: Node, links: dict[str, str]) -> str:
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, entry in node["properties"].items():
        if key in node.get("required", ()):
            default = "required"
        else:
            default = f"`{json.dumps(entry['default'])}`" if "default" in entry else "–"
        meaning = re.sub(r"\bNone\b", "null", entry["description"])
        cells = (f"`{key}`", _type(entry, links), default, meaning)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _choices(node: Node) -> list[Any]:
    return node["enum"] if "enum" in node else [node["const"]]


BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "from",
    "exclusiveMaximum": "below",
    "maximum": "to",
}


def _type(node: Node, links: dict[str, str]) -> str:
    """What a value is, in words."""
    if "$ref" in node:
        return links.get(node["$ref"].rpartition("/")[2], "anything")
    if "const" in node or "enum" in node:
        return ", ".join(f"`{each or json.dumps(each)}`" for each in _choices(node))
    if choices := node.get("anyOf") or node.get("oneOf"):
        return " or ".join(_type(each, links) for each in choices)
    kind = node.get("type", "anything")
    if kind == "array" and "prefixItems" in node:
        return f"[{', '.join(_type(each, links) for each in node['prefixItems'])}]"
    if kind == "array":
        return f"list of {_type(node['items'], links)}"
    if kind == "object":
        below = node.get("additionalProperties")
        return f"mapping to {_type(below, links)}" if isinstance(below, dict) else "mapping"
    bounds = [f"{word} {node[key]:g}" for key, word in BOUNDS.items() if key in node]
    return " ".join([kind, *bounds])


def main() -> None:
    """Write all files below the working folder."""
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(json.dumps(file_schema(), indent=1) + "\n", encoding="utf-8")
    public.write()


if __name__ == "__main__":
    main()
