"""`streamer run` and `streamer demo`: a whole pipeline on this machine, by one command."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.live import Live

from streamer.cli.dashboard import Dashboard
from streamer.cli.lines import event_line, hole_line
from streamer.cli.local import LocalPipeline
from streamer.cli.settings import load_settings
from streamer.client.continuity import Continuity, Hole, HoleReason
from streamer.client.gap import Gap
from streamer.client.log import LoggedEvent
from streamer.core.errors import ConfigError, StreamerError, TransportError
from streamer.core.event import decode_event
from streamer.core.feature import StreamStatus
from streamer.models.bundle import Bundle
from streamer.sources.credentials import redact
from streamer.sources.grammar import expand_sources
from streamer.transport.connection import reconnect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from streamer.core.config import Settings
    from streamer.core.event import Event

DEMO_SOURCES = [f"workcell-{seed}=synthetic:workcell?seed={seed}&fps=10" for seed in (7, 8, 9, 10)]
TURN_SECONDS = 0.2
SCRAPE_SECONDS = 1.0


def run(
    *,
    sources: list[str] = typer.Argument(
        help="Cameras and files: rtsp://…, http://…, 0 or /dev/video0, clip.mp4, clip.mp4#loop, "
        "clip.mp4#realtime, a glob, list.streams, synthetic:workcell; `name=SOURCE` names one."
    ),
    bundle: str | None = typer.Option(None, help="A shipped bundle's name, or a folder."),
    encoder: str | None = typer.Option(
        None, help="efficientnet_lite0, a .onnx file, or torchvision:NAME. Default: the bundle's."
    ),
    device: str | None = typer.Option(None, help="Where the encoder runs: cpu, cuda, cuda:1."),
    fps: float | None = typer.Option(None, help="Frames per second to analyse."),
    redis: str | None = typer.Option(None, help="A server of your own. Default: an embedded one."),
    json: bool = typer.Option(False, "--json", help="One event per line on stdout, nothing else."),
    seconds: float | None = typer.Option(None, "--for", help="Stop after so many seconds."),
    encoders: int | None = typer.Option(
        None, min=1, help="Encoder workers. Default: one per core up to 2; 1 on a GPU."
    ),
    gateway: bool = typer.Option(True, help="Serve events over HTTP on 127.0.0.1."),
    port: int = typer.Option(0, help="The gateway's port; 0 takes a free one."),
    config: Path | None = typer.Option(None, help="Settings. Default: streamer.toml, if any."),
) -> None:
    """Watch sources and print what happens, until Ctrl-C or until every file has ended."""
    overrides: dict[str, Any] = {
        "bundle": bundle,
        "encoder.name": encoder,
        "encoder.device": device,
        "ingest.analysis_fps": fps,
        "gateway.port": port,
    }
    given = {key: value for key, value in overrides.items() if value is not None}
    settings = load_settings(file=config, overrides=given)
    _watch(
        settings,
        sources,
        redis_url=redis,
        as_json=json,
        seconds=seconds,
        num_encoders=encoders,
        gateway=gateway,
    )


def demo(
    *,
    json: bool = typer.Option(False, "--json", help="One event per line on stdout, nothing else."),
    seconds: float | None = typer.Option(None, "--for", help="Stop after so many seconds."),
    port: int = typer.Option(0, help="The gateway's port; 0 takes a free one."),
    show: bool = typer.Option(False, "--open", help="Open the page in a browser."),
) -> None:
    """Watch four synthetic work cells on a page: rendered pictures, real pipeline."""
    settings = load_settings(overrides={"gateway.port": port})
    kinds = (*settings.gateway.allow_sources, "synthetic")  # so that the page can add another cell
    gateway = settings.gateway.model_copy(update={"allow_sources": kinds})
    _watch(
        settings.model_copy(update={"gateway": gateway}),
        DEMO_SOURCES,
        redis_url=None,
        as_json=json,
        seconds=seconds,
        num_encoders=None,
        gateway=True,
        show=show,
    )


def _watch(
    settings: Settings,
    sources: list[str],
    *,
    redis_url: str | None,
    as_json: bool,
    seconds: float | None,
    num_encoders: int | None,
    gateway: bool,
    show: bool = False,
) -> None:
    if seconds is not None and seconds <= 0:
        raise ConfigError(f"--for: expected a positive number of seconds, found {seconds:g}")
    if num_encoders is None:
        on_gpu = (settings.encoder.device or "").startswith("cuda")
        num_encoders = 1 if on_gpu else min(2, os.cpu_count() or 1)
    secrets_by_name: dict[str, str] = {}
    specs = expand_sources(sources, vault=secrets_by_name)
    Bundle.load(settings.bundle)  # a wrong one is told at once, not by four workers
    with _stop_on_signals() as stopping:
        pipeline = LocalPipeline(
            settings,
            specs,
            secrets_by_name=secrets_by_name,
            redis_url=redis_url,
            num_encoders=num_encoders,
            gateway=gateway,
            stopping=lambda: bool(stopping),
        )
        with pipeline:
            view = _View(pipeline, [spec.stream_id for spec in specs], as_json=as_json)
            with view:
                if show:
                    view.open_page()
                _follow(pipeline, view, seconds=seconds, stopping=stopping)
                pipeline.stop_workers()
                view.drain()
        failed = view.failed()
    if failed:
        raise StreamerError("; ".join(failed))


def _follow(
    pipeline: LocalPipeline, view: _View, *, seconds: float | None, stopping: list[int]
) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    scrape_at = 0.0
    lost = False
    while not stopping and not view.over():
        now = time.monotonic()
        if end is not None and now >= end:
            return
        wait = TURN_SECONDS if end is None else min(TURN_SECONDS, end - now)
        try:
            view.turn(wait)
            for name in pipeline.restart_dead():
                view.say(f"{name} crashed and was started again")
            lost = False
        except TransportError as error:
            if not error.retryable:
                raise
            if not lost:
                view.say(f"{error}; trying again")
            lost = True
            reconnect(pipeline.client)
            time.sleep(wait)
        except BrokenPipeError:
            # The reader of our output has gone; Python would complain when flushing at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        if now >= scrape_at:
            scrape_at = now + SCRAPE_SECONDS
            view.refresh()
            for told in pipeline.new_errors():
                view.say(told)


class _View:
    """What the user sees: lines of events, below them the live table; or JSON alone."""

    def __init__(self, pipeline: LocalPipeline, stream_ids: list[str], *, as_json: bool) -> None:
        self._pipeline = pipeline
        self._as_json = as_json
        self._dashboard = Dashboard(stream_ids)
        self._console = Console(highlight=False, soft_wrap=True, markup=False)
        self._continuity = Continuity()
        self._stack = contextlib.ExitStack()
        self._live: Live | None = None

    def __enter__(self) -> _View:
        if self._as_json:
            return self
        self._console.print(f"watching {len(self._dashboard.streams)} stream(s), Ctrl-C stops")
        gateway = self._pipeline.gateway
        if gateway is not None:
            # Whoever sees this line may do all that this user may do here.
            self._console.print(f"open: {gateway.url}/?token={gateway.token}")
        self._console.print(f"redis: {redact(self._pipeline.redis_url)}")
        if self._console.is_terminal:
            live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live = self._stack.enter_context(live)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
        if not self._as_json and self._live is None:
            self._console.print(self._dashboard.table())

    def open_page(self) -> None:
        """Show the page in the user's browser."""
        gateway = self._pipeline.gateway
        if gateway is None:
            return
        # By way of a file of the user's own: a browser's command line is for all to see.
        path = self._pipeline.log_directory / "open.html"
        address = f"{gateway.url}/?token={gateway.token}"
        path.touch(mode=0o600)
        path.write_text(f'<meta http-equiv="refresh" content="0; url={address}">')
        if not webbrowser.open(path.as_uri()):
            self.say("no browser found; open the address yourself")

    def turn(self, timeout_seconds: float) -> int:
        """Show events as they come. Returns how many."""
        shown = 0
        # All are read before any is shown: a reader that has gone leaves no hole behind it.
        for event, text in list(self._read(timeout_seconds)):
            shown += 1
            self._dashboard.take(event)
            if self._as_json:
                sys.stdout.write(text + "\n")
            else:
                self._console.print(event_line(event))
        if self._as_json:
            sys.stdout.flush()
        elif self._live is not None:
            self._live.update(self._dashboard.table(), refresh=True)
        return shown

    def refresh(self) -> None:
        """Read the workers' metrics."""
        if not self._as_json:
            self._dashboard.scrape(self._pipeline.workers)

    def drain(self) -> None:
        """Show what the workers said while stopping."""
        with contextlib.suppress(BrokenPipeError):
            while self.turn(0.0):
                pass

    def say(self, text: str) -> None:
        """Tell the user something, on stderr."""
        print(f"streamer: {text}", file=sys.stderr)

    def over(self) -> bool:
        """Whether every stream has ended by itself, or failed for good.

        Those that somebody removed don't count: others may be added.
        """
        views = self._dashboard.streams.values()
        left = [v for v in views if (v.state, v.reason) != (StreamStatus.ENDED, "stopped")]
        final = (StreamStatus.ENDED, StreamStatus.FAILED)
        return bool(left) and all(view.state in final for view in left)

    def failed(self) -> list[str]:
        """What failed for good, and why."""
        return [
            f"{stream_id}: {view.detail}"
            for stream_id, view in self._dashboard.streams.items()
            if view.state == StreamStatus.FAILED
        ]

    def _read(self, timeout_seconds: float) -> Iterator[tuple[Event, str]]:
        for item in self._pipeline.events.read(wait_seconds=timeout_seconds):
            if isinstance(item, LoggedEvent):
                event = decode_event(item.json)
                new, hole = self._continuity.take(event)
                if hole is not None:
                    self.say(hole_line(hole))
                if new:
                    yield event, item.json.decode()
            else:
                self._continuity.rewind()
                if isinstance(item, Gap):
                    self.say(hole_line(Hole(reason=HoleReason.LOG_RESTARTED)))


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[list[int]]:
    """While entered, SIGINT and SIGTERM ask to stop; a second one stops at once."""
    stopping: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if stopping:
            raise KeyboardInterrupt
        stopping.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
