"""`streamer events`: what is happening, from a running pipeline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.text import Text

from streamer.cli.lines import event_line, hole_line
from streamer.client import subscribe
from streamer.core.errors import ConfigError, TransportError
from streamer.core.event import EventType, encode_event
from streamer.transport.embedded import running_urls

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.client import Hole
    from streamer.core.event import Event

events_app = typer.Typer(no_args_is_help=True, help="Events of a running pipeline.")

_STYLES = {
    EventType.ACTION_START: "green",
    EventType.ACTION_UPDATE: "green",
    EventType.ACTION_END: "dim green",
    EventType.PHASE_TRANSITION: "bold cyan",
    EventType.STREAM_STATUS: "yellow",
    EventType.STREAM_GAP: "red",
    EventType.MODEL_CHANGED: "magenta",
}


@events_app.callback()
def events() -> None:
    """Events of a running pipeline."""


@events_app.command("tail")
def tail(
    *,
    redis: str | None = typer.Option(None, help="Redis of the pipeline. Default: the one running."),
    url: str | None = typer.Option(None, help="A gateway instead: http://HOST:PORT."),
    stream: list[str] = typer.Option([], help="Only this stream; may be repeated."),
    types: list[str] = typer.Option(
        [], "--type", help="Only these types: 'action.*', 'streamer.phase.transition'; repeatable."
    ),
    since: str | None = typer.Option(
        None, help="Begin so long ago (10m) or after a cursor (0: the oldest event kept)."
    ),
    json: bool = typer.Option(False, "--json", help="One CloudEvent per line."),
    follow: bool = typer.Option(True, help="Wait for further events."),
) -> None:
    """Print events as they come, until Ctrl-C."""
    if redis is not None and url is not None:
        raise ConfigError("events tail: expected --redis or --url, found both")
    address = redis or url or _running()
    subscription = subscribe(
        address,
        since=since if since is not None or follow else "0",
        stream=stream,
        types=types,
        follow=follow,
        on_hole=_warn,
        on_lost=lambda error: _lost(address, error),
    )
    show = _print_json if json else _printer()
    try:
        with subscription:
            for event in subscription:
                show(event)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _running() -> str:
    """The embedded server of this user's only run."""
    urls = running_urls()
    if not urls:
        raise TransportError(
            "events tail: no running pipeline found; start one with `streamer run`, or give "
            "--redis URL or --url http://HOST:PORT"
        )
    if len(urls) > 1:
        raise ConfigError(
            f"events tail: several pipelines are running; choose one with --redis: "
            f"{', '.join(urls)}"
        )
    return urls[0]


def _printer() -> Callable[[Event], None]:
    console = Console(highlight=False, soft_wrap=True)

    def show(event: Event) -> None:
        if console.is_terminal:
            console.print(Text(event_line(event), style=_STYLES[event.type]))
        else:
            print(event_line(event), flush=True)

    return show


def _print_json(event: Event) -> None:
    sys.stdout.write(encode_event(event).decode() + "\n")
    sys.stdout.flush()


def _warn(hole: Hole) -> None:
    print(f"streamer: {hole_line(hole)}", file=sys.stderr)


def _lost(address: str, error: TransportError) -> None:
    path = address.removeprefix("unix://").partition("?")[0]
    if path != address and not Path(path).exists():
        raise TransportError("events tail: the pipeline has ended", retryable=False) from error
    print(f"streamer: {error}; connecting again", file=sys.stderr)
