"""`streamer events`: what is happening, from a running pipeline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streamer.cli.lines import hole_line
from streamer.cli.printer import line_printer, print_json
from streamer.cli.replay import replay
from streamer.cli.running import gateway_token, redis_place
from streamer.client import subscribe
from streamer.core.errors import ConfigError, TransportError

if TYPE_CHECKING:
    from streamer.client import Hole

events_app = typer.Typer(no_args_is_help=True, help="Events of a running pipeline.")
events_app.command("replay")(replay)


@events_app.callback()
def events() -> None:
    """Events of a running pipeline."""


@events_app.command("tail")
def tail(
    *,
    redis: str | None = typer.Option(None, help="Redis of the pipeline. Default: the one running."),
    url: str | None = typer.Option(None, help="A gateway instead: http://HOST:PORT."),
    token: str | None = typer.Option(
        None,
        help="For the gateway: env:NAME, file:PATH or the token. Default: that of a run of yours "
        "there, or STREAMER_TOKEN.",
    ),
    stream: list[str] = typer.Option([], help="Only this stream: 'cam1', 'cam*'; repeatable."),
    types: list[str] = typer.Option(
        [], "--type", help="Only these types: 'action.*', 'streamer.phase.transition'; repeatable."
    ),
    since: str | None = typer.Option(
        None, help="Begin so long ago (10m) or after a cursor (0: the oldest event kept)."
    ),
    min_confidence: float = typer.Option(
        0.0,
        min=0.0,
        max=1.0,
        help="Only what is so sure; ends and retractions are shown all the same.",
    ),
    json: bool = typer.Option(False, "--json", help="One CloudEvent per line."),
    follow: bool = typer.Option(True, help="Wait for further events."),
) -> None:
    """Print events as they come, until Ctrl-C."""
    if redis is not None and url is not None:
        raise ConfigError("events tail: expected --redis or --url, found both")
    if token is not None and url is None:
        raise ConfigError("events tail: expected --url with --token, found none")
    address, access = redis_place(
        redis, "events tail", otherwise="--redis URL or --url http://…", url=url
    )
    subscription = subscribe(
        address,
        since=since if since is not None or follow else "0",
        stream=stream,
        types=types,
        min_confidence=min_confidence,
        token=None if url is None else gateway_token(url, given=token),
        follow=follow,
        access=access,
        on_hole=_warn,
        on_lost=lambda error: _lost(address, error),
    )
    show = print_json if json else line_printer()
    try:
        with subscription:
            for event in subscription:
                show(event)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _warn(hole: Hole) -> None:
    print(f"streamer: {hole_line(hole)}", file=sys.stderr)


def _lost(address: str, error: TransportError) -> None:
    path = address.removeprefix("unix://").partition("?")[0]
    if path != address and not Path(path).exists():
        raise TransportError("events tail: the pipeline has ended", retryable=False) from error
    print(f"streamer: {error}; connecting again", file=sys.stderr)
