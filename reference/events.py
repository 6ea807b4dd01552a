"""`docs/events.md`, from the types in `streamer.core.event` and a recorded run."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamer.core.clock
import streamer.core.event
import streamer.core.feature
from reference.markdown import code, prose, table
from streamer.core.event import EventType
from streamer.core.event_schema import event_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

PAGE = "events.md"

EXAMPLES = Path(__file__).with_name("events.json")
"""An event of each type, as `reference.record` wrote it down."""

_INTRODUCTION = """\
# Events

Every event is a [CloudEvents 1.0](https://cloudevents.io) object in JSON, the same over HTTP,
WebSocket and Redis. How to get them: [subscribe](subscribe.md). The JSON Schemas are at
`/schemas/` of every gateway, the channels at `/asyncapi.json`.

Units stand in the names: `_seconds` are seconds, `_ns` are nanoseconds since 1970 in UTC, as
text, because JSON numbers lose their last digits. `confidence` goes from 0 to 1. `seq` counts
analysed frames within an `epoch`, an opening of the source.

A segment (an action, a phase, an anomaly) is said *provisional* at once. The same segment is then
said again, with a higher `revision`: *confirmed*, or *retracted*. Every start gets its end. Drop
what you have seen by stream and `sequence`.

The examples come from one run, in which a camera was paused, frames were dropped and another
model took over.
"""

_UNITS = {"_seconds": "s", "_ns": "ns since 1970, UTC", "_seq": "frame", "_frames": "frames"}
_FOLDED = '<details markdown="1"><summary>Example</summary>'
_ENUMS: tuple[ModuleType, ...] = (streamer.core.event, streamer.core.feature, streamer.core.clock)


def text() -> str:
    """The page."""
    schemas = {kind: event_schema(kind, base="") for kind in EventType}
    definitions: dict[str, Any] = {}
    for schema in schemas.values():
        definitions |= schema["$defs"]
    data_names = {_name(schema["properties"]["data"]) for schema in schemas.values()}
    shared = {name: part for name, part in definitions.items() if name not in data_names}
    parts = [_INTRODUCTION.rstrip(), _summary(schemas)]
    parts += ["## Of every event", _envelope(schemas[EventType.ACTION_START])]
    examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    for kind, schema in schemas.items():
        data = definitions[_name(schema["properties"]["data"])]
        said = dict(_documented("EventType"))[kind]
        parts += [f"## {kind}", prose(said), "Of `data`:", _fields(data)]
        example = json.dumps(examples[kind], indent=2, ensure_ascii=False)
        parts.append(f"{_FOLDED}\n\n```json\n{example}\n```\n\n</details>")
    parts.append("## Parts of data")
    for name, part in sorted(shared.items()):
        parts.append(f"### {name}")
        about = part.get("description", "")
        parts.append(prose(about) if about else "")
        parts.append(_fields(part) if "properties" in part else _values(name, part))
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(schemas: Mapping[EventType, Any]) -> str:
    meanings = dict(_documented("EventType"))
    rows = [(f"[`{kind}`](#{kind.replace('.', '')})", prose(meanings[kind])) for kind in schemas]
    return table(("type", "says"), rows)


def _envelope(schema: Mapping[str, Any]) -> str:
    fixed = {"type": "One of the types above.", "data": "By type, below."}
    fixed |= {"specversion": 'Always "1.0".', "datacontenttype": 'Always "application/json".'}
    rows = [
        (code(name), prose(field.get("description") or fixed[name]))
        for name, field in schema["properties"].items()
    ]
    return table(("field", "meaning"), rows)


def _fields(part: Mapping[str, Any]) -> str:
    rows = []
    for name, field in part["properties"].items():
        unit = "0 to 1" if name == "confidence" else ""
        unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), unit)
        rows.append((code(name), _kind(field), unit, prose(field.get("description", ""))))
    return table(("field", "is", "unit", "meaning"), rows)


def _values(name: str, part: Mapping[str, Any]) -> str:
    meanings = dict(_documented(name))
    rows = [(code(value), prose(meanings.get(value, ""))) for value in part["enum"]]
    return table(("value", "meaning"), rows)


def _documented(name: str) -> Iterator[tuple[str, str]]:
    """The strings under an enumeration's members."""
    module = next(module for module in _ENUMS if hasattr(module, name))
    (tree,) = ast.parse(inspect.getsource(getattr(module, name))).body
    assert isinstance(tree, ast.ClassDef)
    for member, after in zip(tree.body, tree.body[1:], strict=False):
        match member, after:
            case (
                ast.Assign(value=ast.Constant(value=str(value))),
                ast.Expr(value=ast.Constant(value=str(meaning))),
            ):
                yield value, " ".join(meaning.split())


def _kind(field: Mapping[str, Any]) -> str:
    """What a field holds, with links to the parts."""
    if "$ref" in field:
        return f"[{_name(field)}](#{_name(field).lower()})"
    if "anyOf" in field:
        return " or ".join(_kind(kind) for kind in field["anyOf"])
    if field.get("type") == "object":
        return "texts by name"
    names = {"integer": "whole number", "string": "text", "null": "nothing"}
    return names.get(field["type"], str(field["type"]))


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]
