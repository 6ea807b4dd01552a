"""`streamer events replay`: what was said, recomputed from the features that are kept."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from streamer.cli.printer import line_printer, print_json
from streamer.cli.running import redis_place
from streamer.cli.settings import load_settings
from streamer.client.cursor import parse_since
from streamer.core.errors import ConfigError, StateError
from streamer.core.event import rfc3339
from streamer.models.bundle import Bundle
from streamer.models.temporal.registry import open_online_model
from streamer.runtime.replay import Outcome
from streamer.runtime.replay import replay as recompute
from streamer.runtime.verify import Comparison
from streamer.runtime.verify import verify as compare
from streamer.stages.temporal import TemporalStage
from streamer.state.history import RedisHistory
from streamer.transport.connection import connect_to_read
from streamer.transport.install import read_install
from streamer.transport.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.core.event import Event
    from streamer.runtime.replay import Stretch


def replay(
    *,
    begin: str = typer.Option(
        "0",
        "--from",
        help="So long ago (10m), a time (2026-11-21T10:00:00Z), or 0: as far as features are kept.",
    ),
    stream: list[str] = typer.Option([], help="Only this stream; may be repeated."),
    redis: str | None = typer.Option(None, help="Redis of the pipeline. Default: the one running."),
    bundle: str | None = typer.Option(None, help="A shipped bundle's name, or a folder."),
    json: bool = typer.Option(False, "--json", help="One CloudEvent, or comparison, per line."),
    verify: bool = typer.Option(
        False, "--verify", help="Compare events and states with those stored; print no events."
    ),
    config: Path | None = typer.Option(None, help="Settings. Default: streamer.toml, if any."),
) -> None:
    """Recompute events from the stored features. Exit code 1: they can't be, or they differ."""
    settings = load_settings(file=config, overrides={} if bundle is None else {"bundle": bundle})
    parse_begin(begin, now_us=0)  # a wrong one is told before anything is opened
    url, access = redis_place(redis, "events replay")
    loaded = Bundle.load(settings.bundle)
    with contextlib.ExitStack() as stack:
        client = connect_to_read(url, access=access, of="--redis")
        stack.callback(client.close)
        installed = read_install(client)
        keys = Keys(installed.partitions if installed else settings.redis.partitions)
        past = RedisHistory(client, keys=keys)
        model = open_online_model(
            loaded, rows=settings.temporal.rows, backend=settings.temporal.backend
        )
        stack.callback(model.close)
        job = _Job(
            past,
            TemporalStage(loaded, model),
            start_us=parse_begin(begin, now_us=past.now_us()),
            as_json=json,
        )
        well = [job.run(name, job.verify if verify else job.print) for name in _names(past, stream)]
    if not all(well):
        raise typer.Exit(1)


def parse_begin(text: str, *, now_us: int) -> int:
    """The time that is meant, UTC microseconds; 0 for everything.

    Args:
        text: A duration before now, an RFC 3339 time, or 0.
        now_us: Now.

    Raises:
        ConfigError: It is none of these.
    """
    if text == "0":
        return 0
    with contextlib.suppress(ConfigError):
        seconds = parse_since(text)
        if isinstance(seconds, float):
            return max(0, now_us - int(seconds * 1e6))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(
            "--from: expected a duration such as 10m, a time with its zone such as "
            f"2026-11-21T10:00:00Z, or 0, found {text!r}"
        )
    return max(0, int(moment.timestamp() * 1e6))


class _Job:
    """Replays streams, one after the other."""

    def __init__(
        self, past: RedisHistory, stage: TemporalStage, *, start_us: int, as_json: bool
    ) -> None:
        self._past = past
        self._stage = stage
        self._start_us = start_us
        self._as_json = as_json
        self._show: Callable[[Event], None] = print_json if as_json else line_printer()

    def run(self, stream_id: str, what: Callable[[str], bool]) -> bool:
        """Do it for a stream. One that has no past does not hold up the others."""
        try:
            return what(stream_id)
        except StateError as error:
            _say(str(error))
            return False

    def print(self, stream_id: str) -> bool:
        """Print the recomputed events. Whether they are what was said, as far as can be told."""
        history = self._past.read(stream_id)
        well, num_recomputed = True, 0
        for number, stretch in enumerate(recompute(history, self._stage, start_us=self._start_us)):
            if number == 0:
                self._say_reach(stream_id, stretch)
            for event in stretch.events[stretch.num_before :]:
                self._show(event)
            if stretch.remark:
                _say(f"{stream_id}: {stretch.remark}")
            well = well and stretch.outcome not in (Outcome.DIFFERENT, Outcome.DAMAGED)
            num_recomputed += stretch.after is not None
        return well and num_recomputed > 0

    def verify(self, stream_id: str) -> bool:
        """Print whether all is equal, in one line."""
        history = self._past.read(stream_id)
        stretches = list(recompute(history, self._stage, start_us=self._start_us))
        self._say_reach(stream_id, stretches[0])
        logged = self._past.events(history, first=stretches[0].start.sequence)
        found = compare(stretches, logged)
        for remark in found.remarks:
            _say(f"{stream_id}: {remark}")
        if self._as_json:
            line = {"stream": stream_id, "verdict": _verdict(found), **asdict(found)}
            print(msgspec.json.encode(line).decode())
        else:
            print(_line(stream_id, found))
        return _verdict(found) == "equal"

    def _say_reach(self, stream_id: str, stretch: Stretch) -> None:
        start = stretch.start
        if start.version and start.position > self._start_us > 0:
            _say(
                f"{stream_id}: begins at {rfc3339(start.position * 1000)}: "
                "redis.replay_seconds says how long features are kept"
            )


def _names(past: RedisHistory, wanted: list[str]) -> list[str]:
    known = past.stream_ids()
    unknown = [name for name in wanted if name not in known]
    if unknown or not known:
        raise ConfigError(
            f"events replay: expected streams that have a state, found "
            f"{', '.join(unknown) or 'none at all'}; there are: {', '.join(known) or 'none'} "
            "(redis.partitions must be as the workers have it)"
        )
    return list(dict.fromkeys(wanted)) or known


def _verdict(found: Comparison) -> str:
    if found.difference is not None:
        return "different"
    return "equal" if found.num_events or found.num_states else "nothing compared"


def _line(stream_id: str, found: Comparison) -> str:
    numbers = "" if found.first is None else f" (sequence {found.first} to {found.last})"
    counts = f"{found.num_events} event(s){numbers} and {found.num_states} state(s) compared"
    different = "" if found.difference is None else f" at {found.difference}"
    return f"{stream_id}: {counts}: {_verdict(found)}{different}"


def _say(text: str) -> None:
    print(f"streamer: {text}", file=sys.stderr)
