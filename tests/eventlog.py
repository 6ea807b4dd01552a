"""Events for tests, and the event log as the commit function writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.core.clock import ClockSource
from streamer.core.event import (
    ActionData,
    Event,
    EventData,
    EventType,
    FrameRef,
    PhaseData,
    Segment,
    Status,
    StatusData,
    Timing,
    encode_event,
    event_id,
    rfc3339,
    sequence_text,
)
from streamer.core.feature import StreamStatus
from streamer.core.ledger import Ledger
from streamer.transport.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis

START_NS = 1_767_225_600_000_000_000
KEY = Keys().events(0)


def make_event(
    number: int, *, stream: str = "cam", type: EventType = EventType.STREAM_STATUS, epoch: int = 1
) -> Event:
    """Event number `number` of a stream."""
    at_ns = START_NS + epoch * 10**15 + number * 10**8
    common: dict[str, Any] = {
        "frame": FrameRef(epoch=epoch, seq=number, pts_seconds=number * 0.1),
        "timing": Timing(
            captured_ns=str(at_ns),
            received_ns=str(at_ns),
            emitted_ns=str(at_ns),
            clock=ClockSource.HOST,
        ),
        "latency": Ledger(decode_seconds=0.005),
        "pipeline_seconds": 0.005,
        "model_id": "sha256:model",
        "encoder_id": "sha256:encoder",
    }
    segment = Segment(
        start_ns=str(at_ns),
        end_ns=None,
        start_pts_seconds=number * 0.1,
        end_pts_seconds=None,
        start_seq=number,
        revision=0,
    )
    said: dict[str, Any] = {
        "segment": segment,
        "confidence": 0.93,
        "status": Status.CONFIRMED,
        "decision_delay_seconds": 0.2,
    }
    data: EventData
    if type is EventType.PHASE_TRANSITION:
        data = PhaseData(**common, **said, label="grasp", previous=None)
    elif type is EventType.STREAM_STATUS:
        data = StatusData(**common, state=StreamStatus.LIVE, reason="", detail="")
    else:
        data = ActionData(**common, **said, label="carry")
    return Event(
        id=event_id(
            stream_id=stream,
            epoch=epoch,
            model_id="sha256:model",
            type=type,
            label="",
            start_seq=number,
            revision=0,
        ),
        source=f"/streams/{stream}",
        type=type,
        time=rfc3339(at_ns),
        sequence=sequence_text(number),
        data=data,
    )


def fields_of(event: Event) -> Any:
    """The fields that `functions.lua` gives an event."""
    return {
        "type": event.type.value,
        "stream": event.stream_id,
        "id": event.id,
        "sequence": event.number,
        "event": encode_event(event),
    }


def append(
    client: redis.Redis,
    events: Iterable[Event],
    *,
    max_events: int | None = None,
    num_partitions: int = 1,
) -> None:
    """Write events, each into the log of its partition."""
    keys = Keys(num_partitions)
    pipeline = client.pipeline(transaction=False)
    for event in events:
        key = keys.events(keys.partition(event.stream_id))
        pipeline.xadd(key, fields_of(event), maxlen=max_events, approximate=False)
    pipeline.execute()


def log(client: redis.Redis) -> list[tuple[str, str]]:
    """The whole log: (entry id, event id) in order."""
    rows: Any = client.xrange(KEY)
    return [(entry_id.decode(), fields[b"id"].decode()) for entry_id, fields in rows]
