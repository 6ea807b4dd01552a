"""Is what a run said what it should have said? Decided by folding its input again, offline."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.core.clock import Mark
from streamer.core.event import Event, decode_event, encode_event
from streamer.core.feature import FeatureChunk
from streamer.models.temporal.registry import open_temporal_model
from streamer.stages.temporal import TemporalStage
from streamer.transport.state_codec import decode_state, encode_state
from streamer.transport.transport import Unreadable
from tests.faults.evidence import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from streamer.models.bundle import Bundle
    from streamer.transport.transport import LogEntry

_NEVER = Mark("oracle", 0)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that is not as it should be.

    Attributes:
        stream_id: Whose.
        sequence: Of the event; None if it is no event's.
        what: Which thing, for example `data.segment.start_seq`.
        found: What the run has.
        expected: What it should have.
    """

    stream_id: str
    sequence: int | None
    what: str
    found: object
    expected: object

    def __str__(self) -> str:
        where = "" if self.sequence is None else f" event {self.sequence}"
        return (
            f"{self.stream_id}{where}: {self.what}: expected {_short(self.expected)}, "
            f"found {_short(self.found)}"
        )


@dataclass(frozen=True, slots=True)
class Hole:
    """Frames of an epoch that the input log does not have."""

    stream_id: str
    epoch: int
    first_seq: int
    num_frames: int


@dataclass(frozen=True, slots=True)
class Folded:
    """What a stream's input makes, computed here."""

    events: tuple[Event, ...]
    stored: Stored


def fold_offline(
    bundle: Bundle,
    entries: Mapping[str, Sequence[LogEntry | Unreadable]],
    *,
    rows: Mapping[str, int],
    num_rows: int = 8,
) -> dict[str, Folded]:
    """Fold each stream's input from its beginning, alone.

    Args:
        bundle: The run's.
        entries: The input log by stream, from its first entry.
        rows: The row of each stream, as its stored state says. Others get row 0.
        num_rows: `temporal.rows` of the run: bits depend on it.
    """
    model = open_temporal_model(bundle, rows=num_rows, backend="onnx")
    stage = TemporalStage(bundle, model)
    folded = {}
    for stream_id, own in entries.items():
        start = stage.initial(stream_id, row=rows.get(stream_id, 0))
        (advanced,) = stage.advance([(start, own)], taken=_NEVER)
        after = advanced.after
        stored = Stored(after.version, after.position, encode_state(after.state))
        folded[stream_id] = Folded(advanced.events, stored)
    model.close()
    return folded


def timeless(event: Event) -> Event:
    """An event without the four things that say when it was computed, and not what."""
    data = event.data
    latency = msgspec.structs.replace(
        data.latency, feature_wait_seconds=0.0, temporal_seconds=0.0, commit_seconds=0.0
    )
    return msgspec.structs.replace(
        event,
        data=msgspec.structs.replace(
            data,
            latency=latency,
            pipeline_seconds=latency.pipeline_seconds,
            timing=msgspec.structs.replace(data.timing, emitted_ns=""),
        ),
    )


def compare_events(events: Sequence[bytes], folded: Mapping[str, Folded]) -> list[Mismatch]:
    """The log against the fold, bit for bit. Of each stream the first difference is told."""
    by_stream: defaultdict[str, list[Event]] = defaultdict(list)
    mismatches = []
    for raw in events:
        event = decode_event(raw)
        by_stream[event.stream_id].append(event)
        mismatches += _check_form(raw, event)
    for stream_id in sorted(by_stream.keys() | folded.keys()):
        expected = folded[stream_id].events if stream_id in folded else ()
        mismatches += _first_difference(stream_id, by_stream[stream_id], expected)
    return mismatches


def compare_states(stored: Mapping[str, Stored], folded: Mapping[str, Folded]) -> list[Mismatch]:
    """The final checkpoints against the fold: bytes, position, version."""
    mismatches = []
    for stream_id, expected in folded.items():
        found = stored.get(stream_id)
        if found is None:
            if expected.stored.position:
                mismatches.append(Mismatch(stream_id, None, "state", "none", "a checkpoint"))
            continue
        for what in ("position", "version", "state"):
            have, should = getattr(found, what), getattr(expected.stored, what)
            if have != should:
                detail = _state_difference(have, should) if what == "state" else what
                mismatches.append(Mismatch(stream_id, None, detail, have, should))
                break
    return mismatches


def check_sequences(events: Sequence[bytes]) -> list[Mismatch]:
    """Ids are unique; sequences count from 0 without a hole, per stream, in the log's order."""
    expected: Counter[str] = Counter()
    ids: dict[str, tuple[str, int]] = {}
    mismatches = []
    for raw in events:
        event = decode_event(raw)
        stream_id = event.stream_id
        if event.number != expected[stream_id]:
            mismatches.append(
                Mismatch(stream_id, event.number, "sequence", event.number, expected[stream_id])
            )
        expected[stream_id] = event.number + 1
        if event.id in ids:
            first = ids[event.id]
            mismatches.append(
                Mismatch(stream_id, event.number, "id", f"{event.id} of {first}", "a new one")
            )
        ids[event.id] = (stream_id, event.number)
    return mismatches


def check_admitted(
    entries: Mapping[str, Sequence[LogEntry | Unreadable]],
) -> tuple[list[Mismatch], list[Hole]]:
    """The input log's own order: positions rise, epochs rise, seqs rise from 0.

    Returns:
        What is wrong, and the holes: wrong only where nothing may be dropped.
    """
    mismatches: list[Mismatch] = []
    holes: list[Hole] = []
    for stream_id, own in entries.items():
        position, epoch, next_seq = 0, 0, 0
        for entry in own:
            if entry.position <= position:
                mismatches.append(
                    Mismatch(stream_id, None, "position", entry.position, f"above {position}")
                )
            position = entry.position
            chunk = None if isinstance(entry, Unreadable) else entry.entry
            if not isinstance(chunk, FeatureChunk):
                continue
            if chunk.epoch != epoch:
                if chunk.epoch < epoch:
                    mismatches.append(
                        Mismatch(stream_id, None, "epoch", chunk.epoch, f"above {epoch}")
                    )
                epoch, next_seq = chunk.epoch, 0
            missing = chunk.first_seq - next_seq
            if missing > 0:
                holes.append(Hole(stream_id, epoch, next_seq, missing))
            elif missing < 0:
                mismatches.append(
                    Mismatch(stream_id, None, f"seq in epoch {epoch}", chunk.first_seq, next_seq)
                )
            next_seq = chunk.first_seq + len(chunk)
    return mismatches, holes


def _check_form(raw: bytes, event: Event) -> Iterator[Mismatch]:
    """What `timeless` hides must still be consistent in itself."""
    if encode_event(event) != raw:
        yield Mismatch(event.stream_id, event.number, "JSON", raw, f"{encode_event(event)!r}")
    if event.data.pipeline_seconds != event.data.latency.pipeline_seconds:
        yield Mismatch(
            event.stream_id,
            event.number,
            "data.pipeline_seconds",
            event.data.pipeline_seconds,
            event.data.latency.pipeline_seconds,
        )


def _first_difference(
    stream_id: str, found: Sequence[Event], expected: Sequence[Event]
) -> Iterator[Mismatch]:
    for number, (one, other) in enumerate(zip(found, expected, strict=False)):
        have, should = timeless(one), timeless(other)
        if encode_event(have) != encode_event(should):
            what, a, b = _walk(msgspec.to_builtins(have), msgspec.to_builtins(should), "")
            yield Mismatch(stream_id, number, what, a, b)
            return
    if len(found) != len(expected):
        at = min(len(found), len(expected))
        longer = found if len(found) > len(expected) else expected
        extra = f"event {at}: {longer[at].type.value} {longer[at].id}"
        yield Mismatch(
            stream_id, at, f"number of events (first in one only: {extra})",
            len(found), len(expected),
        )  # fmt: skip


def _walk(found: Any, expected: Any, path: str) -> tuple[str, Any, Any]:
    """The path of the first difference, and both values there."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in found.keys() | expected.keys():
            if found.get(key) != expected.get(key):
                return _walk(found.get(key), expected.get(key), f"{path}.{key}")
    return path.lstrip(".") or "bytes", found, expected


def _state_difference(found: bytes, expected: bytes) -> str:
    """The first field of a state that differs."""
    have, should = decode_state(found), decode_state(expected)
    for name in have.__dataclass_fields__:
        a, b = getattr(have, name), getattr(should, name)
        same = a.tobytes() == b.tobytes() if hasattr(a, "tobytes") else repr(a) == repr(b)
        if not same:
            return f"state.{name}"
    return "state"


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 200 else f"{text[:160]}… ({len(text)} characters)"
