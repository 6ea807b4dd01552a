"""`streamer sources`: what a camera or file really gives."""

from __future__ import annotations

import json as json_module
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from streamer.runtime.clock import SystemClock
from streamer.sources.grammar import expand_sources
from streamer.sources.probe import Probe, probe_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.sources.credentials import Credentials
    from streamer.sources.spec import SourceSpec

sources_app = typer.Typer(no_args_is_help=True, help="Cameras and files.")

READ_SECONDS = 2.0
MAX_AT_ONCE = 16


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
        probes = list(pool.map(lambda spec: _probe(spec, vault, seconds), specs))
    failed = [found for found in probes if found.error]
    if json:
        print(json_module.dumps([_as_object(found) for found in probes], indent=2))
    elif len(failed) < len(probes):
        print("\n".join(_table([found for found in probes if not found.error])))
    for found in failed:
        print(f"streamer: {found.error}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _probe(spec: SourceSpec, vault: Mapping[str, str], seconds: float) -> Probe:
    credentials = _typed(spec, vault)
    return probe_source(spec, clock=SystemClock(), seconds=seconds, credentials=credentials)


def _typed(spec: SourceSpec, vault: Mapping[str, str]) -> Credentials | None:
    """Credentials that were typed into the URL."""
    variable = (spec.credentials or "").removeprefix("env:")
    if variable not in vault:
        return None
    user, _, password = vault[variable].partition(":")
    return user, password


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
