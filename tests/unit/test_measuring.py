"""The thread that measures: what it tells, and that nothing that fails ends it."""

from __future__ import annotations

import queue

import pytest

from streamer.core.errors import TransportError
from streamer.runtime.measuring import Measuring
from streamer.telemetry.records.encoder import FramesWaiting

UNKNOWN = FramesWaiting(-1, -1)
PATIENCE_SECONDS = 30


class Told(queue.Queue):
    def observe(self, record):
        self.put(record)

    def next(self):
        return self.get(timeout=PATIENCE_SECONDS)


class Connection:
    def __init__(self):
        self.closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def told():
    return Told()


def test_what_it_measures_is_told_until_it_is_closed(told):
    numbers = iter(range(1000))
    connection = Connection()
    measuring = Measuring(
        lambda: connection,
        lambda _: [FramesWaiting(next(numbers), 0)],
        unknown=UNKNOWN,
        observer=told,
        every_seconds=0.001,
    )
    assert measuring.remark == ""
    measuring.start()
    assert [told.next().entries for _ in range(3)] == [0, 1, 2]
    measuring.close()
    measuring.close()
    assert connection.closed
    assert measuring.remark == ""


def test_while_redis_is_away_it_is_unknown_and_then_known_again(told):
    """Whether connecting fails, or measuring does; each with another connection."""
    connections = []
    answers = iter([TransportError("away", retryable=True), 5, TransportError("away"), 6])

    def connect():
        connections.append(Connection())
        if len(connections) == 1:
            raise TransportError("refused", retryable=True)
        return connections[-1]

    def measure(_):
        answer = next(answers, 7)
        if isinstance(answer, TransportError):
            raise answer
        return [FramesWaiting(answer, 0)]

    measuring = Measuring(connect, measure, unknown=UNKNOWN, observer=told, every_seconds=0.001)
    measuring.start()
    seen = [told.next().entries for _ in range(6)]
    measuring.close()
    assert seen == [-1, -1, 5, -1, 6, 7]
    assert [one.closed for one in connections] == [False, True, True, True]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_is_gone_is_told(told):
    """A defect of ours must show; nothing else depends on the thread."""

    def measure(_):
        raise SystemExit  # ends a thread without a word

    measuring = Measuring(Connection, measure, unknown=UNKNOWN, observer=told)
    measuring.start()
    measuring._thread.join(PATIENCE_SECONDS)
    assert "thread has ended" in measuring.remark
