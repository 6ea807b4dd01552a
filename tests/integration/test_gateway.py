"""The gateway as a process, on a real Valkey, with real HTTP clients."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from streamer.client import HoleReason, subscribe
from streamer.client.sse import parse_sse
from streamer.core.config import GatewaySettings, RedisSettings, Settings
from streamer.core.event import EventType
from streamer.runtime.worker import EXIT_TRY_AGAIN
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamRegistry
from tests.eventlog import append, log, make_event
from tests.gateways import HEADERS, PATIENCE_SECONDS, TOKEN, Gateway
from tests.metrics import values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.client.sse import SseMessage

pytestmark = pytest.mark.usefixtures("gateway_token")

AUTHORIZATION = f"Authorization: Bearer {TOKEN}"


@pytest.fixture(scope="module")
def shared_valkey():
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture(scope="module")
def shared_gateway(shared_valkey):
    gateway = Gateway(shared_valkey.url)
    yield gateway
    gateway.close()


@pytest.fixture(scope="module")
def shared_ready(shared_gateway):
    return shared_gateway.ready()


@pytest.fixture
def client(shared_valkey):
    """A connection to a log without entries, whose next ids are after all ids before."""
    client = connect(shared_valkey.url)
    before: tuple[int, int] = client.time()
    client.flushall()
    while (
        client.time()[0] * 1000 + client.time()[1] // 1000 <= before[0] * 1000 + before[1] // 1000
    ):
        pass
    yield client
    client.close()


@pytest.fixture
def url(client, shared_ready):
    """The shared gateway, when it has noticed that the log is another one."""
    url = f"http://127.0.0.1:{shared_ready.port}"
    wait_for(lambda: cursor(url) == "0-0")
    return url


def cursor(url: str) -> str:
    """How far the gateway has read the log."""
    return httpx.get(f"{url}/v1/health", headers=HEADERS).json()["cursor"]


@pytest.fixture
def own_client(valkey):
    client = connect(valkey.url)
    yield client
    client.close()


@pytest.fixture
def gateway(valkey):
    """One that a test may stop."""
    gateway = Gateway(valkey.url)
    yield gateway
    gateway.close()


@pytest.fixture
def ready(gateway):
    return gateway.ready()


@contextlib.contextmanager
def listening(url: str, query: str = "", **headers: str) -> Iterator[Iterator[SseMessage]]:
    """Messages of an event stream; the first says that it is connected."""
    with httpx.stream(
        "GET", f"{url}/v1/events{query}", headers={**HEADERS, **headers}, timeout=PATIENCE_SECONDS
    ) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        messages = parse_sse(line.encode() for line in response.iter_lines())
        assert not next(messages).data
        yield messages


def until_live(messages: Iterator[SseMessage]) -> list[SseMessage]:
    """What comes before the mark that the log's end is reached."""
    past = []
    for message in messages:
        if message.event == "live":
            return past
        past.append(message)
    raise AssertionError("the stream ended before its live mark")


def ids(messages: list[SseMessage]) -> list[tuple[str, str]]:
    return [(message.last_id, json.loads(message.data)["id"]) for message in messages]


def test_an_event_is_sent_as_it_stands_in_the_log(client, url):
    event = make_event(0, type=EventType.PHASE_TRANSITION)
    with listening(url) as messages:
        assert until_live(messages) == []
        append(client, [event])
        message = next(messages)
    assert message.event == "streamer.phase.transition"
    assert message.last_id == log(client)[0][0]
    assert json.loads(message.data) == msgspec.to_builtins(event)


def test_resuming_gives_the_log_without_repeats(client, url):
    """Catch-up, seam and live, while somebody keeps writing."""
    append(client, [make_event(number) for number in range(700)])
    stop = threading.Event()

    def write() -> None:
        for number in range(700, 1500, 20):
            append(client, [make_event(n) for n in range(number, number + 20)])
            stop.wait(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    got: list[tuple[str, str]] = []
    headers = {}
    # Each connection is dropped in another place: in the past, at the seam, live.
    for take in (1, 255, 256, 257, 100, 3, 628):
        with listening(url, "" if headers else "?since=0", **headers) as messages:
            taken = 0
            for message in messages:
                if message.event == "live":
                    continue
                got += ids([message])
                taken += 1
                if taken == take:
                    break
        headers = {"Last-Event-ID": got[-1][0]}
    stop.set()
    writer.join()
    assert len(got) == 1500
    assert got == log(client)


def test_filters(client, url):
    append(
        client,
        [
            make_event(0, stream="a"),
            make_event(1, stream="a", type=EventType.ACTION_START),
            make_event(0, stream="b", type=EventType.ACTION_END),
            make_event(1, stream="b", type=EventType.PHASE_TRANSITION),
        ],
    )
    wanted = {
        "?since=0&stream=[b-z]*": [("b", "action.end"), ("b", "phase.transition")],
        "?since=0&type=action.*": [("a", "action.start"), ("b", "action.end")],
        "?since=0&type=streamer.*.start&type=phase.transition": [
            ("a", "action.start"),
            ("b", "phase.transition"),
        ],
        "?since=1h&stream=a&stream=b&type=stream.*": [("a", "stream.status")],
        "?type=stream.*": [],
    }
    for query, expected in wanted.items():
        with listening(url, query) as messages:
            found = [json.loads(message.data) for message in until_live(messages)]
        assert [
            (event["source"].removeprefix("/streams/"), event["type"].removeprefix("streamer."))
            for event in found
        ] == expected, query


def test_a_trimmed_cursor_is_told_of_the_gap(client, url):
    append(client, [make_event(number) for number in range(20)])
    cursor = log(client)[4][0]
    append(client, [make_event(20)], max_events=10)
    kept = log(client)
    with listening(url, **{"Last-Event-ID": cursor}) as messages:
        gap, *rest = until_live(messages)
    assert gap.event == "gap"
    assert json.loads(gap.data) == {"reason": "trimmed", "after": cursor, "oldest": kept[0][0]}
    assert ids(rest) == kept
    # The oldest entry kept is no gap, and neither is a log that was never trimmed.
    with listening(url, **{"Last-Event-ID": kept[0][0]}) as messages:
        assert ids(until_live(messages)) == kept[1:]


def test_a_log_that_lost_its_end_is_told(client, url):
    append(client, [make_event(number) for number in range(3)])
    lost = f"{int(log(client)[-1][0].partition('-')[0]) + 1000}-0"
    with listening(url, **{"Last-Event-ID": lost}) as messages:
        (gap,) = until_live(messages)
        assert json.loads(gap.data)["reason"] == "restarted"
        append(client, [make_event(3)])
        assert json.loads(next(messages).data)["sequence"] == make_event(3).sequence


def test_a_slow_client_is_cut_off_and_others_are_not(client, url, shared_ready):
    host, port = "127.0.0.1", shared_ready.port
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.settimeout(PATIENCE_SECONDS)
    slow.connect((host, port))
    slow.sendall(f"GET /v1/events HTTP/1.1\r\nHost: {host}\r\n{AUTHORIZATION}\r\n\r\n".encode())
    with slow, slow.makefile("rb") as answer, listening(url) as messages:
        assert until_live(messages) == []
        while b"event: live" not in answer.readline():
            pass
        for start in range(0, 2500, 250):
            # In steps that the quick client keeps up with.
            append(client, [make_event(number) for number in range(start, start + 250)])
            for number in range(start, start + 250):
                assert json.loads(next(messages).data)["sequence"] == f"{number:016d}"
        metrics = httpx.get(f"http://127.0.0.1:{shared_ready.metrics_port}/metrics").text
        assert 'streamer_gateway_disconnects_total{reason="overflow"} 1.0' in metrics
        assert 'streamer_gateway_clients{transport="sse"} 2.0' in metrics
        # The quick one had them in several writes, the slow one some.
        assert "streamer_gateway_delivery_seconds_count 0.0" not in metrics
        heard = answer.read()
    assert heard.count(b"event: overflow\n") == 1
    assert heard.rstrip(b"\r\n0").endswith(b"}")
    assert heard.count(b"event: streamer.stream.status\n") < 2500


def test_why_clients_went_is_counted(client, url, shared_ready):
    def counted():
        text = httpx.get(f"http://127.0.0.1:{shared_ready.metrics_port}/metrics").text
        return values_of(text)

    left = ("streamer_gateway_disconnects_total", "left")
    gaps = ("streamer_gateway_gaps_total",)
    before = counted()
    append(client, [make_event(number) for number in range(20)])
    cursor = log(client)[4][0]
    append(client, [make_event(20)], max_events=10)
    with listening(url, **{"Last-Event-ID": cursor}) as messages:
        assert next(messages).event == "gap"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while counted().get(left, 0) == before.get(left, 0):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert counted()[gaps] > before[gaps]
    route = ("streamer_gateway_requests_total", "GET", "/v1/events", "200")
    assert counted()[route] == before.get(route, 0) + 1


def test_an_idle_stream_has_heartbeats(shared_valkey, client):
    from prometheus_client import CollectorRegistry

    from workers.gateway.metrics import GatewayMetrics
    from workers.gateway.server import GatewayService

    settings = Settings(redis=RedisSettings(url=shared_valkey.url), gateway=GatewaySettings(port=0))
    service = GatewayService(
        settings, GatewayMetrics(CollectorRegistry()), run_token=TOKEN, heartbeat_seconds=0.05
    )
    service.start()
    try:
        url = f"http://127.0.0.1:{service.port}"
        with listening(url, "?type=action.*") as messages:
            assert until_live(messages) == []
            assert next(messages).data == ""
            append(client, [make_event(0)])
            entry_id = log(client)[0][0]
            # An event that is not wanted moves the cursor on all the same.
            assert any(message.last_id == entry_id for message in islice(messages, 99))
        service.turn(timeout_seconds=0.01)
    finally:
        service.drain(deadline_seconds=4.0)
        service.close()


@pytest.mark.alone
def test_a_stop_ends_clients_and_is_quick(gateway, ready):
    with listening(f"http://127.0.0.1:{ready.port}") as messages:
        assert until_live(messages) == []
        begun = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert list(messages) == []
        code, said = gateway.end()
        assert time.monotonic() - begun < 4.0
    assert code == 0
    assert "Traceback" not in said
    assert json.loads(said.splitlines()[-1])["event"] == "stopped"


@pytest.mark.alone
def test_a_stop_does_not_wait_for_a_client_that_does_not_read(gateway, ready, own_client):
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with stuck:
        stuck.connect(("127.0.0.1", ready.port))
        append(own_client, [make_event(number) for number in range(3000)])
        head = f"GET /v1/events?since=0 HTTP/1.1\r\nHost: localhost\r\n{AUTHORIZATION}\r\n\r\n"
        stuck.sendall(head.encode())
        stuck.recv(1)
        begun = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        code, said = gateway.end()
        assert time.monotonic() - begun < 4.0
    assert code == 0
    assert "Traceback" not in said


def test_the_end_of_the_supervisor_is_the_gateways(gateway, ready):
    gateway._ours.close()
    assert gateway.end()[0] == 0


def test_a_taken_port_is_told_in_one_line(shared_valkey, shared_ready):
    second = Gateway(shared_valkey.url, port=shared_ready.port)
    code, said = second.end()
    second.close()
    assert code == 2
    assert len(said.splitlines()) == 1
    assert f"can't listen on 127.0.0.1:{shared_ready.port}" in said


def test_no_redis_is_told_in_one_line(tmp_path):
    gateway = Gateway(f"unix://:secret@{tmp_path}/none.sock")
    code, said = gateway.end()
    gateway.close()
    assert code == EXIT_TRY_AGAIN
    assert json.loads(said)["event"] == "failed"
    assert "secret" not in said


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/v1/events?since=yesterday", 400, "since: expected a duration"),
        ("/v1/events?typ=action.*", 422, "typ"),
        ("/v1/nothing", 404, "Not Found"),
    ],
)
def test_bad_requests_are_answered_with_a_problem(url, path, status, detail):
    answer = httpx.get(url + path, headers=HEADERS)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert detail in problem["detail"]


def test_a_bad_cursor_is_answered_with_a_problem(url):
    answer = httpx.get(f"{url}/v1/events", headers={**HEADERS, "Last-Event-ID": "x"})
    assert answer.status_code == 400


def test_streams_have_no_credentials(client, url):
    registry = StreamRegistry(client, keys=Keys())
    source = {
        "stream_id": "cam1",
        "url": "rtsp://host/live?token=abc",
        "options": {"transport": "udp"},
        "credentials": "env:SECRET",
    }
    registry.put("cam1", msgspec.json.encode(source))
    (stream,) = httpx.get(f"{url}/v1/streams", headers=HEADERS).json()["streams"]
    assert stream.pop("live")["state"] == "starting"
    assert stream == {
        "id": "cam1",
        "url": "rtsp://host/live?token=***",
        "options": {"transport": "udp"},
        "paused": False,
        "slot": 0,
    }


def test_health_and_probes(url, shared_ready):
    assert httpx.get(f"{url}/v1/health", headers=HEADERS).json()["status"] == "ok"
    for path in ("/livez", "/readyz"):
        assert httpx.get(f"http://127.0.0.1:{shared_ready.metrics_port}{path}").status_code == 200


def test_without_redis_it_says_so_and_comes_back(valkey, own_client, ready):
    url = f"http://127.0.0.1:{ready.port}"
    with listening(url) as messages:
        assert until_live(messages) == []
        append(own_client, [make_event(0)])
        next(messages)
        valkey.kill()
        wait_for(
            lambda: httpx.get(f"{url}/v1/health", headers=HEADERS).json()["status"] == "degraded"
        )
        answer = httpx.get(f"{url}/v1/events?since=10m", headers=HEADERS)
        assert (answer.status_code, answer.json()["status"]) == (503, 503)
        valkey.start()
        # All was in memory: the client is told that it goes back to the log's start.
        rewind = next(messages)
        assert (rewind.event, rewind.last_id) == ("rewind", "0-0")
        assert json.loads(rewind.data)["after"] > "0-0"
        own_client.connection_pool.disconnect()
        append(own_client, [make_event(1)])
        assert json.loads(next(messages).data)["sequence"] == make_event(1).sequence


def wait_for(condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        pause.wait(0.02)


@pytest.mark.parametrize("way", ["redis", "gateway"])
class TestSubscribe:
    """The client's two ways give the same."""

    @pytest.fixture
    def address(self, way, shared_valkey, url):
        return shared_valkey.url if way == "redis" else url

    def test_the_past(self, address, client):
        events = [make_event(number) for number in range(600)]
        append(client, events)
        with subscribe(address, since="0", follow=False) as subscription:
            assert list(subscription) == events

    def test_now(self, address, client, url):
        append(client, [make_event(0)])
        wait_for(lambda: cursor(url) == log(client)[0][0])  # the gateway has read it
        writer = threading.Thread(target=self.write_until_heard, args=(client,))
        with subscribe(address) as subscription:
            writer.start()
            first, second = next(subscription), next(subscription)
            self.heard.set()
        writer.join()
        assert first.number > 0
        assert second.number == first.number + 1

    heard = threading.Event()

    def write_until_heard(self, client):
        self.heard.clear()
        for number in range(1, 1500):
            append(client, [make_event(number)])
            if self.heard.wait(0.01):
                return

    def test_streams_and_types(self, address, client):
        append(
            client,
            [
                make_event(0, stream="a", type=EventType.ACTION_START),
                make_event(0, stream="b", type=EventType.ACTION_START),
                make_event(1, stream="b"),
                make_event(2, stream="b", type=EventType.ACTION_END),
            ],
        )
        with subscribe(
            address, since="10m", stream="b", types=["action.*"], follow=False
        ) as subscription:
            got = [(event.stream_id, event.number) for event in subscription]
            assert not subscription.holes
        assert got == [("b", 0), ("b", 2)]

    def test_a_trimmed_past_is_a_hole(self, address, client):
        append(client, [make_event(number) for number in range(20)], max_events=5)
        with subscribe(address, since="0", follow=False) as subscription:
            assert [event.number for event in subscription] == list(range(15, 20))
            assert [hole.reason for hole in subscription.holes] == [HoleReason.LOG_TRIMMED]

    def test_a_missing_number_is_a_hole(self, address, client):
        append(client, [make_event(number) for number in (0, 1, 5)])
        with subscribe(address, since="0", follow=False) as subscription:
            assert [event.number for event in subscription] == [0, 1, 5]
            (hole,) = subscription.holes
        assert (hole.first_missing, hole.count) == (2, 3)


def test_the_client_goes_on_when_the_gateway_is_started_again(valkey, own_client, ready, gateway):
    append(own_client, [make_event(0)])
    with subscribe(f"http://127.0.0.1:{ready.port}", since="0") as subscription:
        assert next(subscription).number == 0
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.end()[0] == 0
        append(own_client, [make_event(number) for number in range(1, 6)])
        again = Gateway(valkey.url, port=ready.port)
        try:
            numbers = [0, *(next(subscription).number for _ in range(5))]
        finally:
            again.close()
    assert all(b == a + 1 for a, b in pairwise(numbers))
    assert not subscription.holes
