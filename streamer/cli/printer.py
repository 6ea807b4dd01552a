"""Events on stdout: a line for people, or one CloudEvent per line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from streamer.cli.lines import event_line
from streamer.core.event import EventType, encode_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.core.event import Event

_STYLES = {
    EventType.ACTION_START: "green",
    EventType.ACTION_UPDATE: "green",
    EventType.ACTION_END: "dim green",
    EventType.PHASE_TRANSITION: "bold cyan",
    EventType.ANOMALY_START: "bold red",
    EventType.ANOMALY_END: "dim red",
    EventType.STREAM_STATUS: "yellow",
    EventType.STREAM_GAP: "red",
    EventType.MODEL_CHANGED: "magenta",
}


def line_printer() -> Callable[[Event], None]:
    """Prints a line per event, coloured on a terminal."""
    console = Console(highlight=False, soft_wrap=True)

    def show(event: Event) -> None:
        if console.is_terminal:
            console.print(Text(event_line(event), style=_STYLES[event.type]))
        else:
            print(event_line(event), flush=True)

    return show


def print_json(event: Event) -> None:
    """Print an event as it stands in the log."""
    sys.stdout.write(encode_event(event).decode() + "\n")
    sys.stdout.flush()
