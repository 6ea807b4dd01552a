"""Subscribers of an install with many partitions: one server, a cluster, a sentinel's service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from itertools import islice
from urllib.parse import quote

import httpx
import pytest

from streamer.client import subscribe
from streamer.client.cursor import Cursor
from streamer.client.sse import parse_sse
from streamer.core.errors import ConfigError, TransportError
from streamer.core.event import decode_event
from streamer.transport.connection import connect, connect_to_read
from streamer.transport.install import InstallRecord, agree, read_install
from streamer.transport.keys import Keys
from tests.eventlog import append, make_event
from tests.gateways import HEADERS, serving_events
from tests.sentinel import PASSWORD, SERVICE, EmbeddedSentinel
from tests.servers import CLUSTER, serving

pytestmark = pytest.mark.usefixtures("gateway_token")

NUM_PARTITIONS = 8
KEYS = Keys(NUM_PARTITIONS)
STREAMS = [
    next(name for n in range(999) if KEYS.partition(name := f"cam-{copy}-{n}") == partition)
    for partition in range(NUM_PARTITIONS)
    for copy in range(2)
]


@pytest.fixture(params=["valkey", CLUSTER])
def server(request):
    with serving(request.param, request) as server:
        yield server


@pytest.fixture
def client(server):
    client = connect(server.url)
    agree(client, keys=KEYS)
    yield client
    client.close()


@pytest.fixture(params=["redis", "gateway"])
def address(request, server, client):
    if request.param == "redis":
        yield server.url
        return
    with serving_events(server.url, num_partitions=NUM_PARTITIONS) as url:
        yield url


def write(client, numbers, streams=STREAMS):
    events = [make_event(number, stream=name) for number in numbers for name in streams]
    append(client, events, num_partitions=NUM_PARTITIONS)


def numbers_of(events):
    numbers = defaultdict(list)
    for event in events:
        numbers[event.stream_id].append(event.number)
    return numbers


def test_the_first_worker_says_how_many_partitions_there_are(server):
    client = connect(server.url)
    assert read_install(client) is None
    agree(client, keys=Keys(3))
    agree(client, keys=Keys(3))
    assert read_install(client) == InstallRecord(3, 1)
    with pytest.raises(ConfigError, match=r"set up with 3, this worker is configured with 64; set"):
        agree(client, keys=Keys(64))
    client.hset("streamer:install", "format", 9)
    with pytest.raises(ConfigError, match="expected data in format 1, found format 9"):
        agree(client, keys=Keys(3))
    client.hset("streamer:install", "partitions", "many")
    with pytest.raises(TransportError, match="expected numbers of ours"):
        read_install(client)
    client.close()


@pytest.mark.parametrize("role", ["ingest", "encoder", "temporal", "gateway"])
def test_a_worker_configured_otherwise_does_not_start(valkey, role):
    client = connect(valkey.url)
    agree(client, keys=Keys(2))
    client.close()
    settings = {"STREAMER_REDIS__URL": valkey.url, "STREAMER_GATEWAY__PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", f"workers.{role}", "--set", "metrics.port=0"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "set up with 2, this worker is configured with 1" in done.stderr


def test_all_partitions_are_read_from_the_start_and_on(client, address):
    write(client, range(40))
    with subscribe(address, since="0") as subscription:
        got = [*islice(subscription, 40 * len(STREAMS))]
        write(client, range(40, 43))
        got += islice(subscription, 3 * len(STREAMS))
        cursor = subscription.cursor
        assert not subscription.holes
    assert numbers_of(got) == {stream: list(range(43)) for stream in STREAMS}
    assert str(cursor).count(":") == NUM_PARTITIONS
    # From its text, another goes on.
    write(client, [43])
    with subscribe(address, since=str(cursor), follow=False) as subscription:
        assert numbers_of(subscription) == {stream: [43] for stream in STREAMS}
        assert not subscription.holes


def test_a_duration_is_one_in_every_partition(client, address):
    for partition in range(NUM_PARTITIONS):
        name = STREAMS[2 * partition]
        event = make_event(0, stream=name)
        fields = {"type": event.type.value, "stream": name, "event": b"not read"}
        client.xadd(KEYS.events(partition), fields, id="1000-0")
    write(client, range(2))
    with subscribe(address, since="1h", follow=False) as subscription:
        assert numbers_of(subscription) == {stream: [0, 1] for stream in STREAMS}
        assert not subscription.holes


def test_a_browser_resumes_by_the_id_it_was_given(server, client):
    write(client, range(30))
    got, headers = [], {}
    with serving_events(server.url, num_partitions=NUM_PARTITIONS) as url:
        for take in (1, 100, 250, 129):
            query = "" if headers else "?since=0"
            with httpx.stream(
                "GET", f"{url}/v1/events{query}", headers={**HEADERS, **headers}
            ) as answer:
                messages = parse_sse(line.encode() for line in answer.iter_lines())
                told = (message for message in messages if message.data)
                for message in islice(told, take):
                    got.append(decode_event(message.data.encode()))
                    headers = {"Last-Event-ID": message.last_id}
    assert numbers_of(got) == {stream: list(range(30)) for stream in STREAMS}


def test_a_cursor_that_is_gone_is_one_gap_that_names_the_partitions(server, client):
    write(client, range(3))
    places = Cursor.parse(",".join(f"{n}:99999999999999-0" for n in (1, 5)))
    with serving_events(server.url, num_partitions=NUM_PARTITIONS) as url:
        headers = {"Last-Event-ID": str(places)}
        with httpx.stream("GET", f"{url}/v1/events", headers={**HEADERS, **headers}) as answer:
            messages = parse_sse(line.encode() for line in answer.iter_lines())
            gap, event = islice((message for message in messages if message.data), 2)
    assert gap.event == "gap"
    data = json.loads(gap.data)
    assert (data["reason"], data["after"]) == ("restarted", str(places))
    assert set(Cursor.parse(data["oldest"]).places) == {1, 5}
    # The partitions that the cursor did not name come from their start.
    stream = decode_event(event.data.encode()).stream_id
    assert KEYS.partition(stream) not in {1, 5}


def test_reading_needs_no_right_to_write(valkey):
    client = connect(valkey.url)
    agree(client, keys=KEYS)
    write(client, range(2))
    client.execute_command(
        *("ACL", "SETUSER", "reader", "on", ">secret", "~streamer:*", "resetchannels"),
        *("-@all", "+@read", "+@connection", "+time"),
    )
    url = valkey.url.replace("unix://", "unix://reader:secret@")
    with subscribe(url, since="10m", follow=False) as subscription:
        assert len(list(subscription)) == 2 * len(STREAMS)
    reader = connect_to_read(url, of="events")
    agree(reader, keys=KEYS)
    reader.close()
    client.close()


def test_subscribers_follow_the_primary():
    with EmbeddedSentinel() as sentinel:
        address = (
            f"redis+sentinel://:{quote(PASSWORD, safe='')}@127.0.0.1:{sentinel.port}/{SERVICE}"
        )
        client = connect(address)
        append(client, [make_event(n) for n in range(5)])
        assert client.wait(1, 2000) == 1
        client.close()
        with subscribe(address, since="0") as subscription:
            assert [event.number for event in islice(subscription, 5)] == list(range(5))
            sentinel.kill_primary()
            client = connect(address)
            append(client, [make_event(n) for n in range(5, 8)])
            client.close()
            assert [event.number for event in islice(subscription, 3)] == [5, 6, 7]
            assert not subscription.holes
