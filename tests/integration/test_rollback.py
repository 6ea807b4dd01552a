"""A log that Redis rolled back: its newest events are lost, and written again under other ids."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import defaultdict

import httpx
import pytest

from streamer.client import HoleReason, subscribe
from streamer.client.continuity import Continuity
from streamer.transport.connection import connect
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from tests.eventlog import append, fields_of, make_event
from tests.gateways import HEADERS, serving_events
from tests.loopback import wait_for

pytestmark = pytest.mark.usefixtures("gateway_token")

PATIENCE_SECONDS = 15.0
NUM = 30
STREAMS = ("a", "b", "c")
STEP_MS = 10


@pytest.fixture
def client(server):
    client = connect(server.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("streamer.client.redis.BLOCK_SECONDS", 0.1)
    monkeypatch.setattr("workers.gateway.feed.BLOCK_SECONDS", 0.1)


class Log:
    """Writes events of three streams, event `n` of the log at `n * STEP_MS`."""

    def __init__(self, client, num_partitions):
        self.client = client
        self.keys = Keys(num_partitions)
        self.events = [make_event(n // 3, stream=STREAMS[n % 3]) for n in range(NUM + 9)]
        agree(client, keys=self.keys)

    def key(self, event):
        return self.keys.events(self.keys.partition(event.stream_id))

    def write(self, ids, *, at=0, pipeline=None):
        """Events from number `at` on, with these ids."""
        own = pipeline or self.client.pipeline(transaction=False)
        for event, ms in zip(self.events[at:], ids, strict=False):
            own.xadd(self.key(event), fields_of(event), id=f"{ms}-0")
        if pipeline is None:
            own.execute()

    def roll_back(self, lost, new_ids, *, at_once):
        """Lose so many of the `NUM` events; then write them and all others with new ids."""
        kept = NUM - lost
        pipeline = self.client.pipeline(transaction=True)
        for partition in range(self.keys.num_partitions):
            pipeline.delete(self.keys.events(partition))
        self.write(ids_of(range(kept)), pipeline=pipeline)
        if at_once:
            self.write(new_ids, at=kept, pipeline=pipeline)
        pipeline.execute()
        if not at_once:
            for n, ms in enumerate(new_ids):
                self.write([ms], at=kept + n)


def ids_of(numbers):
    return [STEP_MS * (n + 1) for n in numbers]


def new_ids_of(kind, lost):
    """Ids for the events that were lost, and nine more."""
    kept, cursor, num = NUM - lost, STEP_MS * NUM, lost + 9
    first = STEP_MS * kept + 1
    match kind:
        case "lower":
            step = max(1, (cursor - first) // num)
            return [first + step * n for n in range(lost)] + [cursor + 1 + n for n in range(9)]
        case "higher":
            return [cursor + 1 + n for n in range(num)]
        case "both":
            half = lost // 2
            return [first + n for n in range(half)] + [cursor + 1 + n for n in range(num - half)]
        case _:  # those of the lost ones, each given to another event
            return ids_of(range(kept + 1, NUM + 10))


class Listener(threading.Thread):
    """Subscribes, and puts what comes into a queue."""

    def __init__(self, address, **options):
        super().__init__(daemon=True)
        self.address = address
        self.events = queue.Queue()
        self.subscription = subscribe(address, **options)
        self.start()

    def run(self):
        with contextlib.closing(self.subscription):
            for event in self.subscription:
                self.events.put(event)
                if event.id == self.last.id:
                    return

    last = make_event(NUM // 3 + 2, stream=STREAMS[2])

    def take(self, num):
        return [self.events.get(timeout=PATIENCE_SECONDS) for _ in range(num)]

    def until_live(self):
        """Until a gateway reads the log once for all: one still reading the past would hang up."""
        wait_for(
            lambda: (
                not self.address.startswith("http")
                or httpx.get(f"{self.address}/v1/health", headers=HEADERS).json()["clients"] == 1
            ),
            "the client",
        )

    def rest(self):
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive()
        return self.take(self.events.qsize())


@contextlib.contextmanager
def listening(way, server, num_partitions, **options):
    with contextlib.ExitStack() as stack:
        address = server.url
        if way == "gateway":
            address = stack.enter_context(serving_events(server.url, num_partitions=num_partitions))
        yield Listener(address, **options)


def numbers_of(events):
    numbers = defaultdict(list)
    for event in events:
        numbers[event.stream_id].append(event.number)
    return numbers


WHOLE = {stream: list(range(NUM // 3 + 3)) for stream in STREAMS}


@pytest.mark.parametrize("num_partitions", [1, 3])
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "cut off"])
@pytest.mark.parametrize("kind", ["lower", "higher", "both", "swapped"])
@pytest.mark.parametrize("lost", [6, NUM])
@pytest.mark.parametrize("way", ["redis", "gateway"])
def test_every_event_comes_once(client, server, way, lost, kind, connected, num_partitions):
    log = Log(client, num_partitions)
    log.write(ids_of(range(NUM)))
    with listening(way, server, num_partitions, since="0") as listener:
        before = listener.take(NUM)
        if not connected:
            listener.until_live()
            client.client_kill_filter(_type="normal", skipme=True)
        log.roll_back(lost, new_ids_of(kind, lost), at_once=not connected)
        got = [*before, *listener.rest()]
    assert numbers_of(got) == WHOLE
    assert not listener.subscription.holes


@pytest.mark.parametrize("way", ["redis", "gateway"])
@pytest.mark.parametrize("kind", ["lower", "higher", "swapped"])
def test_who_ignores_the_sequence_has_repeats(client, server, way, kind, monkeypatch):
    """Else the test above could not fail."""
    monkeypatch.setattr(Continuity, "take", lambda self, event: (True, None))
    log = Log(client, 1)
    log.write(ids_of(range(NUM)))
    with listening(way, server, 1, since="0") as listener:
        before = listener.take(NUM)
        log.roll_back(6, new_ids_of(kind, 6), at_once=True)
        got = [*before, *listener.rest()]
    assert len(got) == NUM + 9 + 6
    assert {event.id for event in got} == {event.id for event in log.events}


@pytest.mark.parametrize("kind", ["lower", "higher", "swapped"])
def test_a_log_rolled_back_further_than_is_remembered(client, server, kind, monkeypatch):
    monkeypatch.setattr("streamer.client.track.REMEMBERED", 4)
    monkeypatch.setattr("streamer.client.continuity.WINDOW", 2)
    log = Log(client, 1)
    log.write(ids_of(range(NUM)))
    with listening("redis", server, 1, since="0") as listener:
        before = listener.take(NUM)
        log.roll_back(15, new_ids_of(kind, 15), at_once=True)
        got = [*before, *listener.rest()]
    assert numbers_of(got) == WHOLE
    assert not listener.subscription.holes


@pytest.mark.parametrize("way", ["redis", "gateway"])
def test_from_now_on_and_nothing_remembered_is_left_is_a_hole(client, server, way, monkeypatch):
    monkeypatch.setattr("streamer.client.follower.PRIMED", 2)
    monkeypatch.setattr("streamer.client.track.REMEMBERED", 4)
    log = Log(client, 1)
    log.write(ids_of(range(NUM - 9)))
    with listening(way, server, 1) as listener:
        until_listening(listener)
        log.write(ids_of(range(NUM - 9, NUM)), at=NUM - 9)
        assert [event.id for event in listener.take(9)] == [e.id for e in log.events[NUM - 9 : NUM]]
        # What it began after is lost too, so nothing says where to go on.
        log.roll_back(15, new_ids_of("higher", 15), at_once=True)
        listener.rest()
    assert [hole.reason for hole in listener.subscription.holes] == [HoleReason.LOG_RESTARTED]


def test_from_now_on_the_past_stays_the_past(client, server):
    log = Log(client, 1)
    log.write(ids_of(range(NUM)))
    with listening("redis", server, 1) as listener:
        until_listening(listener)
        log.roll_back(6, new_ids_of("lower", 6), at_once=True)
        got = listener.rest()
    # It can't know that those were there before it began.
    assert [event.id for event in got] == [event.id for event in log.events[NUM - 6 :]]
    assert not listener.subscription.holes


def until_listening(listener):
    wait_for(lambda: listener.subscription.cursor is not None, "the subscriber")


def test_an_entry_deleted_by_hand_is_no_hole(client, server):
    log = Log(client, 1)
    log.write(ids_of(range(NUM)))
    with listening("redis", server, 1, since="0") as listener:
        before = listener.take(NUM)
        client.xdel(log.keys.events(0), f"{STEP_MS * NUM}-0")
        append(client, log.events[NUM:])
        got = [*before, *listener.rest()]
    assert numbers_of(got) == WHOLE
    assert not listener.subscription.holes
