"""JSON Schemas of events, from their types. Reference: JSON Schema 2020-12."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.core.event import DATA_OF_TYPE, EventType

if TYPE_CHECKING:
    from collections.abc import Iterator

DIALECT = "https://json-schema.org/draft/2020-12/schema"

ANY_EVENT = "streamer.event"
"""Name of the schema of any event."""

_ATTRIBUTE = re.compile(r"(?P<name>\w+): (?P<text>.+)")
_NANOSECONDS = {"type": "string", "pattern": "^[0-9]+$"}
_ENVELOPE: dict[str, Any] = {
    "specversion": {"const": "1.0"},
    "id": {
        "type": "string",
        "format": "uuid",
        "description": "The same for the same input and model, whoever computes it.",
    },
    "source": {
        "type": "string",
        "format": "uri-reference",
        "pattern": "^/streams/.+$",
        "description": "The stream.",
    },
    "time": {"type": "string", "format": "date-time", "description": "When it happened, UTC."},
    "datacontenttype": {"const": "application/json"},
    "sequence": {
        "type": "string",
        "pattern": "^[0-9]{16,}$",
        "description": "Contiguous per stream from 0.",
    },
}


def schema_names() -> list[str]:
    """Of all schemas: the event types', and that of any event."""
    return [*EventType, ANY_EVENT]


def event_schema(name: str, *, base: str) -> dict[str, Any]:
    """The schema of an event type, complete in itself, or of any event.

    Args:
        name: One of `schema_names`.
        base: Where the schemas are found: their `$id` is `{base}{name}.json`.

    Raises:
        KeyError: There is no such schema.
    """
    head: dict[str, Any] = {"$schema": DIALECT, "$id": f"{base}{name}.json"}
    if name == ANY_EVENT:
        refs = [{"$ref": f"{base}{type}.json"} for type in EventType]
        return {**head, "title": "An event", "type": "object", "oneOf": refs}
    if name not in schema_names():
        raise KeyError(name)
    definitions = event_definitions("#/$defs/{name}", types=(EventType(name),))
    return {**head, **definitions.pop(name), "$defs": definitions}


def event_definitions(
    ref_template: str, *, types: tuple[EventType, ...] = tuple(EventType)
) -> dict[str, Any]:
    """Definitions of these event types, by type, and of what they refer to, by name.

    Args:
        ref_template: How they refer to each other: `#/$defs/{name}`.
        types: Which.
    """
    definitions: dict[str, Any] = {}
    for type in types:
        data = DATA_OF_TYPE[type]
        (ref,), parts = msgspec.json.schema_components([data], ref_template=ref_template)
        structs = {struct.__name__: struct for struct in _structs_in(data)}
        for name, part in parts.items():
            definitions[name] = _described(part, structs.get(name))
        definitions[type.value] = {
            "title": type.value,
            "description": inspect.getdoc(data).splitlines()[0],  # type: ignore[union-attr]
            "type": "object",
            "properties": {**_ENVELOPE, "type": {"const": type.value}, "data": ref},
            "required": [*_ENVELOPE, "type", "data"],
        }
    return definitions


def _structs_in(root: type) -> Iterator[type]:
    """The struct, and all that its fields are made of."""
    seen: set[type] = set()
    waiting: list[Any] = [root]
    while waiting:
        found = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        yield found
        for field in msgspec.structs.fields(found):
            parts = getattr(field.type, "__args__", (field.type,))
            waiting += [part for part in parts if _is_struct(part)]


def _is_struct(type: Any) -> bool:
    return inspect.isclass(type) and issubclass(type, msgspec.Struct)


def _described(part: dict[str, Any], struct: type | None) -> dict[str, Any]:
    """A definition with the docstring's sentences where they belong."""
    text = inspect.cleandoc(part.get("description", ""))
    if text:
        part["description"] = text.partition("\n\n")[0]
    attributes = {} if struct is None else _attributes(struct)
    for name, schema in part.get("properties", {}).items():
        if name in attributes:
            schema["description"] = attributes[name]
        if name == "confidence":
            schema.update(minimum=0, maximum=1)
        if name.endswith("_ns") and schema.get("type") == "string":
            schema.update(_NANOSECONDS)
    return part


def _attributes(struct: type) -> dict[str, str]:
    """What its docstring, and those of what it derives from, say of its attributes."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        _, _, section = (inspect.cleandoc(base.__doc__ or "")).partition("Attributes:\n")
        name = ""
        for line in inspect.cleandoc(section).splitlines():
            match = _ATTRIBUTE.fullmatch(line)
            if match:
                name = match["name"]
                found[name] = match["text"]
            elif name and line.strip():
                found[name] += f" {line.strip()}"
    return found
