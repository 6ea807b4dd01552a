"""`streamer run` on a Redis Cluster, with subscribers beside it."""

from __future__ import annotations

import re
import signal

import pytest

from streamer.client import subscribe
from streamer.core.event import decode_event
from streamer.transport.connection import connect
from streamer.transport.install import read_install
from streamer.transport.keys import Keys

pytestmark = pytest.mark.alone

NUM_STREAMS = 3


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "streamer.toml"
    path.write_text("[redis]\npartitions = 8\n")
    return str(path)


def test_run_on_a_cluster_of_eight_partitions(cluster, start, settings):
    cluster.flush()
    sources = [f"cell-{n}=synthetic:workcell?seed={n}&fps=10" for n in range(NUM_STREAMS)]
    options = ["--redis", cluster.url, "--config", settings, "--encoders", "1"]
    process = start("run", *sources, *options)
    said = [process.stdout.readline() for _ in range(2)]
    ((url, token),) = re.findall(r"open: (http://127\.0\.0\.1:[0-9]+)/\?token=(\S+)", "".join(said))
    heard = {}
    for address, given in ((cluster.url, None), (url, token)):
        with subscribe(address, since="0", token=given) as subscription:
            events = []
            while {event.stream_id for event in events if event.number > 3} != {
                f"cell-{n}" for n in range(NUM_STREAMS)
            }:
                events.append(next(subscription))
            assert not subscription.holes
        heard[address] = {event.id for event in events}
    assert len(heard[cluster.url] & heard[url]) > NUM_STREAMS * 3
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    printed = {stream for n in range(NUM_STREAMS) if (stream := f"cell-{n}") in out}
    assert len(printed) == NUM_STREAMS
    client = connect(cluster.url)
    assert read_install(client).partitions == 8
    keys = Keys(8)
    for n in range(NUM_STREAMS):
        rows = client.xrange(keys.events(keys.partition(f"cell-{n}")))
        numbers = [decode_event(fields[b"event"]).number for _, fields in rows]
        assert numbers
    client.close()


def test_a_run_configured_otherwise_is_refused(cluster, streamer, settings):
    cluster.flush()
    client = connect(cluster.url)
    client.hset(Keys().install, mapping={"partitions": 64, "format": 1})
    client.close()
    done = streamer("run", "synthetic:workcell", "--redis", cluster.url, "--config", settings)
    assert done.code == 2
    assert "set up with 64, this worker is configured with 8" in done.stderr
