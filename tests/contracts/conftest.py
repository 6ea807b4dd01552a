from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamer.core.clock import ClockSource
from streamer.core.event import (
    Event,
    EventType,
    FrameRef,
    StatusData,
    Timing,
    event_id,
    rfc3339,
    sequence_text,
)
from streamer.core.feature import StreamStatus
from streamer.core.ledger import Ledger
from tests.servers import SERVERS, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.transport.embedded import EmbeddedValkey


@pytest.fixture(params=SERVERS)
def valkey(request) -> Iterator[EmbeddedValkey]:
    """A server of its own, of each kind."""
    with running(request.param) as server:
        yield server


@pytest.fixture
def make_event():
    """An event of a number."""

    def make(number: int) -> Event:
        return Event(
            id=event_id(
                stream_id="cam",
                epoch=1,
                model_id="sha256:m",
                type=EventType.STREAM_STATUS,
                label="live",
                start_seq=number,
                revision=0,
            ),
            source="/streams/cam",
            type=EventType.STREAM_STATUS,
            time=rfc3339(1_767_225_600_123_456_789),
            sequence=sequence_text(number),
            data=StatusData(
                frame=FrameRef(epoch=1, seq=number, pts_seconds=0.5),
                timing=Timing(
                    captured_ns="1", received_ns="2", emitted_ns="3", clock=ClockSource.HOST
                ),
                latency=Ledger(decode_seconds=0.001),
                pipeline_seconds=0.001,
                model_id="sha256:m",
                encoder_id="sha256:e",
                state=StreamStatus.LIVE,
                reason="",
                detail="",
            ),
        )

    return make
