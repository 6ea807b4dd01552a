"""`streamer sources`: what a camera or file really gives."""

from __future__ import annotations

import json as json_module
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import typer

from streamer.core.errors import StreamerError
from streamer.runtime.clock import SystemClock
from streamer.sources.credentials import redact
from streamer.sources.grammar import expand_sources, open_source
from streamer.sources.reader import AvFrame
from streamer.sources.synthetic import SyntheticFrame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.sources.credentials import Credentials
    from streamer.sources.source import DecodedFrame
    from streamer.sources.spec import SourceSpec

sources_app = typer.Typer(no_args_is_help=True, help="Cameras and files.")

READ_SECONDS = 2.0
MAX_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found.

    Attributes:
        stream: Its name.
        source: Its URL, without credentials.
        codec: FFmpeg's name of it; `rendered` for a synthetic scene.
        width: Pixels.
        height: Pixels.
        fps: Of the pictures read, by their own times.
        longest_pause_seconds: Between two pictures read.
        first_frame_seconds: From asking for the connection to the first picture.
        frames: How many were read.
        live: Whether frames are lost if nobody reads.
        clock: What their times are taken from.
        error: Why there is nothing of this; empty if there is.
    """

    stream: str
    source: str
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    longest_pause_seconds: float = 0.0
    first_frame_seconds: float = 0.0
    frames: int = 0
    live: bool = False
    clock: str = ""
    error: str = ""


@sources_app.callback()
def sources() -> None:
    """Cameras and files."""


@sources_app.command("probe")
def probe(
    *,
    texts: list[str] = typer.Argument(
        metavar="SOURCE...", help="As for `streamer run`: rtsp://…, clip.mp4, synthetic:workcell …"
    ),
    json: bool = typer.Option(False, "--json", help="A list of objects."),
    seconds: float = typer.Option(READ_SECONDS, min=0.1, max=60.0, help="How long to read."),
) -> None:
    """Open each source, read for two seconds, print what comes. Exit code 1 if one fails."""
    vault: dict[str, str] = {}
    specs = expand_sources(texts, vault=vault)
    with ThreadPoolExecutor(max_workers=min(len(specs), MAX_AT_ONCE)) as pool:
        probes = list(pool.map(lambda spec: _probe(spec, vault=vault, seconds=seconds), specs))
    failed = [found for found in probes if found.error]
    if json:
        print(json_module.dumps([_as_object(found) for found in probes], indent=2))
    elif len(failed) < len(probes):
        print("\n".join(_table([found for found in probes if not found.error])))
    for found in failed:
        print(f"streamer: {found.error}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _probe(spec: SourceSpec, *, vault: Mapping[str, str], seconds: float) -> Probe:
    begun = time.monotonic()
    name = redact(spec.url)
    try:
        source = open_source(spec, clock=SystemClock(), credentials=_typed(spec, vault))
        try:
            source.open()
            frames, times = source.frames(), []
            first = next(frames, None)
            first_frame_seconds = time.monotonic() - begun
            frame = first
            while frame is not None:
                times.append(frame.pts_seconds)
                if time.monotonic() - begun - first_frame_seconds >= seconds:
                    break
                if not source.live and times[-1] - times[0] >= seconds:
                    break
                frame = next(frames, None)
        finally:
            source.close()
    except StreamerError as error:
        text = str(error)
        return Probe(
            stream=spec.stream_id,
            source=name,
            error=text if name in text else f"{name}: {text}",
        )
    if first is None:
        return Probe(stream=spec.stream_id, source=name, error=f"{name}: no picture in it")
    codec, width, height = _picture(first)
    return Probe(
        stream=spec.stream_id,
        source=name,
        codec=codec,
        width=width,
        height=height,
        fps=round(_fps(times), 2),
        longest_pause_seconds=round(max((b - a for a, b in pairwise(times)), default=0.0), 3),
        first_frame_seconds=round(first_frame_seconds, 3),
        frames=len(times),
        live=source.live,
        clock=first.clock.value,
    )


def _typed(spec: SourceSpec, vault: Mapping[str, str]) -> Credentials | None:
    """Credentials that were typed into the URL."""
    variable = (spec.credentials or "").removeprefix("env:")
    if variable not in vault:
        return None
    user, _, password = vault[variable].partition(":")
    return user, password


def _picture(frame: DecodedFrame) -> tuple[str, int, int]:
    """Codec, width and height."""
    match frame:
        case AvFrame():
            codec = frame.reader.codec_name
            return codec, frame.picture.width, frame.picture.height
        case SyntheticFrame():
            height, width, _ = frame.source.scene.render(frame.pts_seconds).shape
            return "rendered", width, height
    raise TypeError(f"expected a frame of FFmpeg or of a scene, found {type(frame).__name__}")


def _fps(times: Sequence[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


def _as_object(found: Probe) -> dict[str, object]:
    """Of a failed probe only what is known."""
    known = {"stream", "source", "error"} if found.error else asdict(found).keys() - {"error"}
    return {key: value for key, value in asdict(found).items() if key in known}


def _table(probes: Sequence[Probe]) -> list[str]:
    rows = [("STREAM", "CODEC", "SIZE", "FPS", "FIRST FRAME", "LONGEST PAUSE", "KIND", "CLOCK")]
    rows += [
        (
            found.stream,
            found.codec,
            f"{found.width}x{found.height}",
            f"{found.fps:.2f}",
            f"{found.first_frame_seconds:.2f} s",
            f"{found.longest_pause_seconds * 1e3:.0f} ms",
            "live" if found.live else "recorded",
            found.clock,
        )
        for found in probes
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
