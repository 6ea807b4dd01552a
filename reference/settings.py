"""`docs/settings.md`, from `streamer.core.config.Settings`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reference.markdown import code, prose, table
from streamer.core.config import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = "settings.md"

_INTRODUCTION = """\
# Settings

Read in this order, and the last one wins:

1. the file `streamer.toml` of the working directory, or the one that `--config FILE` names (TOML
   or JSON);
2. variables of the environment, as below;
3. the command line: `--set KEY=VALUE` of `streamer worker`, and the options of `streamer run`.

An unknown key or variable is an error that names the nearest known one. See what is in force, and
check a file:

```sh
streamer config show
printf 'bundle = "workcell"\\n[gateway]\\nport = 8080\\n' > site.toml
streamer config validate site.toml
```

`streamer config schema` prints the same as a JSON Schema. Lists are written `a,b` on a command
line, and as JSON in a variable. `streamer run` chooses `redis.url`, the metrics ports and
`drain_seconds` of its workers itself.
"""


def text() -> str:
    """The page."""
    schema = Settings.model_json_schema()
    sections = {
        name: schema["$defs"][part["$ref"].rpartition("/")[2]]
        for name, part in schema["properties"].items()
        if "$ref" in part
    }
    own = {name: part for name, part in schema["properties"].items() if name not in sections}
    parts = [_INTRODUCTION, "## Of the whole run", _table("", own)]
    for name, section in sections.items():
        title = section.get("description", name).rstrip(".")
        parts += [f"## {name}: {title[0].lower()}{title[1:]}", _table(name, section["properties"])]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _table(section: str, fields: Mapping[str, Any]) -> str:
    rows = []
    for name, field in fields.items():
        key = f"{section}.{name}" if section else name
        variable = f"STREAMER_{key.replace('.', '__')}".upper()
        default = json.dumps(field.get("default"), ensure_ascii=False)
        default = "not set" if default == "null" else code(default)
        rows.append((f"{code(key)}<br>{code(variable)}", default, _range(field), _meaning(field)))
    return table(("key and variable", "default", "may be", "meaning"), rows)


def _meaning(field: Mapping[str, Any]) -> str:
    return prose(field.get("description", ""))


def _range(field: Mapping[str, Any]) -> str:
    """What its values may be."""
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    return ", ".join(_kind(kind) for kind in kinds)


def _kind(kind: Mapping[str, Any]) -> str:
    if "enum" in kind:
        return ", ".join(code(str(value)) for value in kind["enum"])
    if kind.get("type") == "array":
        return f"list of: {_kind(kind['items'])}"
    if kind.get("type") == "object":
        return "a table"
    names = {"integer": "integer", "number": "number", "boolean": "`true`, `false`"}
    return f"{names.get(kind.get('type', ''), 'text')}{_bounds(kind)}"


def _bounds(kind: Mapping[str, Any]) -> str:
    """` 1 to 10`, ` > 0`; without blanks that a line could break at."""
    low = next((f"{kind[key]:g}" for key in ("minimum", "exclusiveMinimum") if key in kind), "")
    above = f">\u00a0{low}" if "exclusiveMinimum" in kind else low
    if "maximum" in kind:
        return f", {above}\u00a0to\u00a0{kind['maximum']:g}"
    if not low:
        return ""
    return f"\u00a0{above}" if "exclusiveMinimum" in kind else f"\u00a0≥\u00a0{low}"
