"""`streamer streams`: what is watched, and changing it while it runs."""

from __future__ import annotations

import contextlib
import difflib
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from streamer.cli.running import redis_place
from streamer.core.errors import ConfigError
from streamer.sources.credentials import redact
from streamer.sources.grammar import expand_sources
from streamer.sources.spec import SYNTHETIC, SourceSpec
from streamer.transport.connection import connect, redis_errors
from streamer.transport.install import read_install
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.transport.registry import StreamEntry

streams_app = typer.Typer(no_args_is_help=True, help="What a running pipeline watches.")

_REDIS = typer.Option(None, help="Redis of the pipeline. Default: the one running.")
_IDS = typer.Argument(metavar="STREAM...", help="Names, as `streamer streams list` has them.")
_COLUMNS = ("STREAM", "SOURCE", "OPTIONS", "PAUSED")


@streams_app.command("list")
def list_streams(
    *,
    redis: str | None = _REDIS,
    json: bool = typer.Option(False, "--json", help="One object per line, nothing else."),
) -> None:
    """List the streams."""
    with _registry(redis, "list") as (registry, _):
        rows = [_row(stream_id, entry) for stream_id, entry in sorted(registry.entries().items())]
    if json:
        for row in rows:
            print(json_module.dumps(row, ensure_ascii=False))
        return
    table = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.ljust(n) for cell, n in zip(cells, widths, strict=True)).rstrip())


@streams_app.command("add")
def add(
    *,
    sources: list[str] = typer.Argument(
        metavar="SOURCE...", help="As for `streamer run`: door=rtsp://…, clip.mp4, synthetic:…"
    ),
    keep: bool = typer.Option(
        False, "--keep", help="Leave a stream of that name as it is, and succeed."
    ),
    redis: str | None = _REDIS,
) -> None:
    """Watch more streams. A password is given as #credentials=env:NAME or file:PATH.

    The ingest worker looks for files and variables where it runs.
    """
    with _registry(redis, "add") as (registry, run):
        for spec in expand_sources(sources, taken=registry.entries().keys()):
            source = msgspec.json.encode(_absolute(spec))
            if registry.add(spec.stream_id, source, run=run) is None:
                if keep:
                    print(f"{spec.stream_id} is there already")
                    continue
                raise ConfigError(
                    f"streams add: {spec.stream_id}: expected a name that is free, found it taken; "
                    f"give another, as in NAME={redact(spec.url)}"
                )
            print(f"{spec.stream_id} is added")


@streams_app.command("pause")
def pause(*, ids: list[str] = _IDS, redis: str | None = _REDIS) -> None:
    """Stop reading streams until they are resumed. What is open in them ends."""
    with _registry(redis, "pause") as (registry, _):
        for stream_id in _known(registry, ids, "pause"):
            registry.update(stream_id, paused=True)
            print(f"{stream_id} is paused")


@streams_app.command("resume")
def resume(*, ids: list[str] = _IDS, redis: str | None = _REDIS) -> None:
    """Read paused streams again. A file begins anew."""
    with _registry(redis, "resume") as (registry, _):
        for stream_id in _known(registry, ids, "resume"):
            registry.update(stream_id, paused=False)
            print(f"{stream_id} is resumed")


@streams_app.command("remove")
def remove(*, ids: list[str] = _IDS, redis: str | None = _REDIS) -> None:
    """Watch streams no longer. What is open in them ends."""
    with _registry(redis, "remove") as (registry, _):
        for stream_id in _known(registry, ids, "remove"):
            registry.remove(stream_id)
            print(f"{stream_id} is removed")


@contextlib.contextmanager
def _registry(url: str | None, command: str) -> Iterator[tuple[StreamRegistry, bool]]:
    """The registry, and whether a `streamer run` lives there: what is added is that run's."""
    url, access = redis_place(url, f"streams {command}")
    with contextlib.closing(connect(url, access=access)) as client:
        installed = read_install(client)
        if installed is None:
            raise ConfigError("--redis: expected a server with a pipeline, found one without")
        keys = Keys(installed.partitions)
        with redis_errors("look for a run"):
            run = bool(client.exists(keys.run))
        yield StreamRegistry(client, keys=keys), run


def _known(registry: StreamRegistry, ids: Sequence[str], command: str) -> Sequence[str]:
    """All of them, or none: a mistyped one must not leave half of it done."""
    known = registry.entries()
    for stream_id in ids:
        if stream_id not in known:
            near = difflib.get_close_matches(stream_id, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "`streamer streams list` has them"
            raise ConfigError(f"streams {command}: {stream_id}: no such stream; {hint}")
    return ids


def _absolute(spec: SourceSpec) -> SourceSpec:
    """A file by its whole path: the ingest worker runs in another folder."""
    plain = "://" not in spec.url and not spec.url.startswith(SYNTHETIC)
    return msgspec.structs.replace(spec, url=str(Path(spec.url).absolute())) if plain else spec


def _row(stream_id: str, entry: StreamEntry) -> dict[str, Any]:
    try:
        source = msgspec.json.decode(entry.source, type=SourceSpec)
    except msgspec.MsgspecError:
        return {"id": stream_id, "url": "?", "options": {}, "paused": entry.paused}
    options = {key: redact(option) for key, option in source.options.items()}
    url = redact(source.url)
    return {"id": stream_id, "url": url, "options": options, "paused": entry.paused}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    options = ", ".join(
        value if key == "transport" else key for key, value in row["options"].items()
    )
    return row["id"], row["url"], options, "yes" if row["paused"] else ""
