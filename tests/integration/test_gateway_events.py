"""Ways to the events: what is open, a WebSocket, the past by pages. Real gateway, real clients."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_websocket

from streamer.client.sse import parse_sse
from streamer.core.event import EventType, Status
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from tests.eventlog import append, log, make_event
from tests.gateways import HEADERS, serving_events, wait_until_read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from streamer.client.sse import SseMessage

PATIENCE_SECONDS = 15.0
START, UPDATE, END = EventType.ACTION_START, EventType.ACTION_UPDATE, EventType.ACTION_END


@pytest.fixture
def client(valkey):
    client = connect(valkey.url)
    yield client
    client.close()


@pytest.fixture
def url(valkey):
    with serving_events(valkey.url) as url:
        yield url


def action(number: int, type: EventType, *, start: int, stream: str = "cam", **said: object):
    event = make_event(number, stream=stream, type=type)
    segment = msgspec.structs.replace(event.data.segment, start_seq=start)
    data = msgspec.structs.replace(event.data, segment=segment, **said)
    return msgspec.structs.replace(event, data=data)


@contextlib.contextmanager
def listening(url: str, query: str = "", **headers: str) -> Iterator[Iterator[SseMessage]]:
    with httpx.stream(
        "GET", f"{url}/v1/events{query}", headers=HEADERS | headers, timeout=PATIENCE_SECONDS
    ) as response:
        yield parse_sse(line.encode() for line in response.iter_lines())


@contextlib.contextmanager
def websocket(url: str, query: str = "", **headers: str) -> Iterator[ClientConnection]:
    address = url.replace("http", "ws", 1) + f"/v1/events/ws{query}"
    with connect_websocket(
        address, additional_headers=HEADERS | headers, open_timeout=PATIENCE_SECONDS
    ) as connection:
        yield connection


def until_live(messages: Iterator[SseMessage]) -> list[SseMessage]:
    past = []
    for message in messages:
        if message.event == "live":
            return past
        past.append(message)
    raise AssertionError("the stream ended before its live mark")


def opened(url: str, query: str = "") -> list[tuple[str, int]]:
    """Streams and numbers of the events that say what is open."""
    with listening(url, query) as messages:
        hello, *rest = until_live(messages)
    assert (hello.data, hello.last_id) == ("", "")
    assert all((message.event, message.last_id) == ("open", "") for message in rest)
    said = [json.loads(message.data) for message in rest]
    return [(event["source"].removeprefix("/streams/"), int(event["sequence"])) for event in said]


def test_open_segments_come_first(client, url, valkey):
    append(
        client,
        [
            action(1, START, start=3),
            action(2, START, start=4, confidence=0.6),
            action(1, START, start=3, stream="door"),
            action(3, UPDATE, start=3),
            action(4, END, start=4),
            make_event(5, type=EventType.PHASE_TRANSITION),
        ],
    )
    wait_until_read(url, log(client)[-1][0])
    assert opened(url) == [("door", 1), ("cam", 3), ("cam", 5)]
    assert opened(url, "?stream=d*&type=action.*") == [("door", 1)]
    assert opened(url, "?min_confidence=0.95") == []
    # Another gateway reads them back from the log.
    with serving_events(valkey.url) as other:
        assert opened(other) == [("door", 1), ("cam", 3), ("cam", 5)]
    append(client, [action(6, END, start=3)])
    wait_until_read(url, log(client)[-1][0])
    assert opened(url) == [("door", 1), ("cam", 5)]


def test_what_a_rollback_takes_back_is_not_open(client, url):
    append(client, [action(1, START, start=1), make_event(2)])
    with listening(url) as messages:
        until_live(messages)
        append(client, [action(3, START, start=3), action(4, END, start=1)])
        assert json.loads(next(messages).data)["sequence"] == f"{3:016d}"
        assert json.loads(next(messages).data)["sequence"] == f"{4:016d}"
        # As a server that lost its newest writes: its log ends where it did before them.
        rows = client.xrange(Keys().events(0))
        pipeline = client.pipeline(transaction=True)
        pipeline.delete(Keys().events(0))
        for entry_id, fields in rows[:2]:
            pipeline.xadd(Keys().events(0), fields, id=entry_id)
        pipeline.execute()
        assert next(messages).event == "rewind"
    assert opened(url) == [("cam", 1)]


def test_open_segments_are_for_who_begins_now(client, url):
    append(client, [action(1, START, start=1), make_event(2)])
    place = log(client)[-1][0]
    for query, headers in (("?since=1ms", {}), ("", {"Last-Event-ID": place})):
        with listening(url, query, **headers) as messages:
            assert "open" not in {message.event for message in until_live(messages)}
    with listening(url, f"?last_event_id={log(client)[0][0]}") as messages:
        assert [message.last_id for message in until_live(messages)][-1] == place


def test_a_websocket_says_the_same(client, url):
    append(client, [action(number, START, start=number) for number in range(1, 4)])
    wait_until_read(url, log(client)[-1][0])
    with websocket(url) as connection:
        frames = [json.loads(connection.recv(PATIENCE_SECONDS)) for _ in range(5)]
        assert [frame["event"] for frame in frames] == ["hello", "open", "open", "open", "live"]
        assert [frame["id"] for frame in frames[:4]] == [None] * 4
        assert frames[4]["id"] == log(client)[-1][0]
        append(client, [make_event(4)])
        frame = json.loads(connection.recv(PATIENCE_SECONDS))
    assert frame == {
        "id": log(client)[-1][0],
        "event": "streamer.stream.status",
        "data": msgspec.to_builtins(make_event(4)),
    }
    place = log(client)[1][0]
    for query, headers in ((f"?last_event_id={place}", {}), ("", {"Last-Event-ID": place})):
        with websocket(url, query, **headers) as connection:
            frames = [json.loads(connection.recv(PATIENCE_SECONDS)) for _ in range(4)]
        assert [frame["event"] for frame in frames] == [
            "hello", "streamer.action.start", "streamer.stream.status", "live",
        ]  # fmt: skip
        assert [frame["id"] for frame in frames[1:3]] == [id for id, _ in log(client)[2:]]


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("?since=yesterday", 400, "since: expected a duration"),
        ("?last_event_id=x", 400, "last_event_id: expected an entry id"),
        ("?min_confidence=2", 422, "min_confidence"),
        ("?typ=action.*", 422, "typ"),
    ],
)
def test_a_websocket_is_refused_with_a_problem(url, query, status, detail):
    with pytest.raises(InvalidStatus) as refused, websocket(url, query):
        pass
    response = refused.value.response
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = json.loads(response.body)
    assert (problem["status"], detail in problem["detail"]) == (status, True)


def test_a_websocket_needs_a_token(url):
    address = url.replace("http", "ws", 1) + "/v1/events/ws"
    with pytest.raises(InvalidStatus) as refused, connect_websocket(address):
        pass
    assert refused.value.response.status_code == 401
    assert httpx.get(f"{url}/v1/events/history").status_code == 401


def test_a_stop_tells_a_websocket(valkey):
    with contextlib.ExitStack() as gateway:
        url = gateway.enter_context(serving_events(valkey.url))
        with websocket(url) as connection:
            while json.loads(connection.recv(PATIENCE_SECONDS))["event"] != "live":
                pass
            gateway.close()
            with pytest.raises(ConnectionClosed):
                connection.recv(PATIENCE_SECONDS)
            assert connection.close_code == 1012


def pages(url: str, **query: object) -> list[dict]:
    found = []
    cursor = None
    while cursor is not None or not found:
        asked = query | ({} if cursor is None else {"cursor": cursor})
        answer = httpx.get(f"{url}/v1/events/history", params=asked, headers=HEADERS)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        cursor = found[-1]["next"]
    return found


def numbers(page: dict) -> list[int]:
    return [int(event["sequence"]) for event in page["events"]]


def test_history_by_pages(client, url):
    append(client, [make_event(number) for number in range(250)])
    found = pages(url, limit=100)
    assert [len(page["events"]) for page in found] == [100, 100, 50]
    assert [number for page in found for number in numbers(page)] == list(range(250))
    assert found[0]["events"][0] == msgspec.to_builtins(make_event(0))
    assert {page["gap"] for page in found} == {None}
    entries = [entry_id for entry_id, _ in log(client)]
    (page,) = pages(url, since=entries[9], until=entries[19], limit=1000)
    assert numbers(page) == list(range(10, 20))
    (page,) = pages(url, until="1h")
    assert page == {"events": [], "next": None, "gap": None}


def test_history_filters(client, url):
    append(client, [action(1, START, start=1), action(2, START, start=2, confidence=0.5)])
    append(client, [action(3, END, start=1, confidence=0.1, status=Status.CONFIRMED)])
    append(client, [action(1, START, start=1, stream="door")])
    (page,) = pages(url, stream="cam", type="action.*", min_confidence=0.8, since="1h")
    assert numbers(page) == [1, 3]


def test_history_of_a_trimmed_log_says_so(client, url):
    append(client, [make_event(number) for number in range(20)])
    cursor = log(client)[4][0]
    append(client, [make_event(20)], max_events=10)
    (page,) = pages(url, since=cursor)
    oldest = log(client)[0][0]
    assert page["gap"] == {"reason": "trimmed", "after": cursor, "oldest": oldest}
    assert numbers(page) == list(range(11, 21))
    (page,) = pages(url)  # the oldest kept is what was asked for
    assert page["gap"] is None


def test_history_of_many_partitions_is_in_order(valkey, client):
    with serving_events(valkey.url, num_partitions=8) as url:
        streams = [f"cam{number}" for number in range(12)]
        for number in range(100):
            append(
                client,
                [make_event(number, stream=stream) for stream in streams[: 1 + number % 12]],
                num_partitions=8,
            )
        found = [event for page in pages(url, limit=37) for event in page["events"]]
        written = sum(1 + number % 12 for number in range(100))
        assert len({event["id"] for event in found}) == len(found) == written
        for stream in streams:
            own = [e["sequence"] for e in found if e["source"] == f"/streams/{stream}"]
            assert own == sorted(own)


@pytest.mark.parametrize(
    ("query", "status", "named"),
    [
        ("limit=0", 422, "limit"),
        ("limit=1001", 422, "limit"),
        ("cursor=10m", 400, "cursor"),
        ("cursor=0:x", 400, "cursor"),
        ("since=x", 400, "since"),
        ("until=x", 400, "until"),
        ("x=1", 422, "x"),
    ],
)
def test_history_refuses_with_a_problem(url, query, status, named):
    answer = httpx.get(f"{url}/v1/events/history?{query}", headers=HEADERS)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(f"{named}: ")
