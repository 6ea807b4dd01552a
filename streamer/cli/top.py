"""`streamer top`: what all streams are doing, at a glance, in a terminal."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING

import typer
from rich.console import Console, Group
from rich.live import Live as LiveDisplay
from rich.text import Text

from streamer.cli.dashboard import ANOMALY, StreamView, streams_table
from streamer.cli.running import gateway_token, redis_place
from streamer.client.glance import open_glance
from streamer.core.errors import ConfigError, TransportError
from streamer.transport.tokens import CLIENT_TOKEN_VARIABLE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from streamer.client.glance import Glance
    from streamer.client.live import Live

LOOK_SECONDS = 1.0


def top(
    *,
    redis: str | None = typer.Option(None, help="Redis of the pipeline. Default: the one running."),
    url: str | None = typer.Option(None, help="A gateway instead: http://HOST:PORT."),
    token: str | None = typer.Option(
        None,
        help="For the gateway: env:NAME, file:PATH or the token. Default: that of a run of yours "
        "there, or STREAMER_TOKEN.",
    ),
    once: bool = typer.Option(False, "--once", help="Print the table once. Default: to a file."),
) -> None:
    """Show what every stream is doing, until Ctrl-C."""
    if redis is not None and url is not None:
        raise ConfigError("top: expected --redis or --url, found both")
    if token is not None and url is None:
        raise ConfigError("top: expected --url with --token, found none")
    address, access = redis_place(redis, "top", otherwise="--redis URL or --url http://…", url=url)
    if url is not None:
        given = gateway_token(url, given=token) or os.environ.get(CLIENT_TOKEN_VARIABLE)
        glance = open_glance(address, token=given)
    else:
        glance = open_glance(address, access=access)
    console = Console(highlight=False)
    try:
        if once or not console.is_terminal:
            glance.look()
            time.sleep(LOOK_SECONDS)  # frames per second need two looks
            console.print(_table(glance.look()))
        else:
            _watch(glance, console)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        glance.close()


def _watch(glance: Glance, console: Console) -> None:
    shown: RenderableType = Text("looking …")
    with LiveDisplay(shown, console=console, auto_refresh=False, screen=True) as display:
        while True:
            try:
                shown = _table(glance.look())
                display.update(shown, refresh=True)
            except TransportError as error:
                if not error.retryable:
                    raise
                display.update(Group(shown, Text(f"{error}; trying again", "red")), refresh=True)
            time.sleep(LOOK_SECONDS)


def _table(streams: dict[str, Live]) -> RenderableType:
    if not streams:
        return Text("no streams; add one with `streamer streams add`")
    return streams_table({stream_id: view_of(live) for stream_id, live in streams.items()})


def view_of(live: Live) -> StreamView:
    """A row of the table."""
    actions = {action.label: action.confidence for action in live.actions}
    if live.anomaly is not None:
        actions[ANOMALY] = live.anomaly.confidence
    return StreamView(
        state=live.state,
        reason=live.reason,
        detail=live.detail,
        phase="" if live.phase is None else live.phase.label,
        confidence=None if live.phase is None else live.phase.confidence,
        actions=actions,
        latencies=deque(live.latencies_seconds),
        frames=live.seq + 1,
        drops=live.missing_frames,
        fps=live.fps,
    )
