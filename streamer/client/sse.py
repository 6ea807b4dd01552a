"""Server-sent events: lines → messages.

Reference: WHATWG HTML, section 9.2.6, "Interpreting an event stream".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class SseMessage:
    """One message.

    Attributes:
        event: Its name; `message` when it has none.
        data: Its lines, joined. Empty: only the id is news (browsers don't show such a message).
        last_id: The id in force, its own or that of a message before; empty at first.
    """

    event: str
    data: str
    last_id: str


def parse_sse(lines: Iterable[bytes]) -> Iterator[SseMessage]:
    r"""The messages of an event stream; an unfinished one at its end is left out.

    Args:
        lines: With or without their line ends (`\n` or `\r\n`).
    """
    event, data, last_id = "", [], ""
    for raw in lines:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "event":
                    event = value
                case "data":
                    data.append(value)
                case "id" if "\0" not in value:
                    last_id = value
            continue
        yield SseMessage(event or "message", "\n".join(data), last_id)
        event, data = "", []
