"""What real workers serve: the families of the page, in both formats, by stream as it should be."""

from __future__ import annotations

import contextlib
import http.client
import math
import signal
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from streamer.core.event import EventType, Status
from tests.metrics import families_of, families_on_page, values_of
from tests.workers import Farm, get

ROLES = ("ingest", "encoder", "temporal", "gateway")
PROMETHEUS_ACCEPTS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)


@pytest.fixture
def farm(valkey, tmp_path):
    made = Farm(valkey.url, tmp_path)
    with contextlib.closing(made):
        yield made


def scrape(worker):
    status, text = get(worker, "/metrics")
    assert status == 200
    return text


def seen(worker):
    return values_of(scrape(worker))


def until(condition, *, seconds=30):
    """What another process's slow timer decides."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def of_stream(worker, stream_id):
    return {name for name, *labels in seen(worker) if stream_id in labels}


def test_every_role_serves_the_families_of_the_page_and_no_others(farm):
    farm.want("cam=synthetic:workcell?fps=10&width=320&height=240")
    workers = dict(zip(ROLES, farm.start(*ROLES, latency_budget_seconds=0.3), strict=True))
    farm.wait_for(lambda: any(_enters_phase(event) for event in farm.events()))
    for role, worker in workers.items():
        text = scrape(worker)
        assert families_of(text) == families_on_page(role)
        assert "_created" not in text
        found = values_of(text)
        assert found["streamer_worker_ready",] == 1
        assert found["streamer_latency_budget_seconds",] == 0.3
        assert [key[1] for key in found if key[0] == "streamer_build_info"] == [role]
        answer = openmetrics(worker)
        assert "# EOF" in answer
        names = {family.name for family in parse_openmetrics(answer)}
        assert "streamer_build_info" in names
    ingest, encoder, temporal = (seen(workers[role]) for role in ROLES[:3])
    assert ingest["streamer_stream_info", "host", "240", "synthetic", "cam", "320"] == 1
    assert ingest["streamer_stream_status", "live", "cam"] == 1
    assert ingest["streamer_streams", "live"] == 1
    age = time.time() - ingest["streamer_stream_last_frame_timestamp_seconds", "cam"]
    assert 0 <= age < 30
    assert encoder["streamer_encoder_info", "onnx", "cpu", "efficientnet_lite0"] == 1
    for name in ("frames_waiting", "frames_oldest_seconds"):
        assert encoder[f"streamer_{name}",] >= 0
    assert temporal["streamer_stream_last_commit_timestamp_seconds", "cam"] > 0
    assert [key[2] for key in temporal if key[0] == "streamer_stream_phase"] == ["cam"]
    assert temporal["streamer_commits_total",] >= temporal["streamer_model_steps_total",] > 0


def _enters_phase(event):
    return event.type is EventType.PHASE_TRANSITION and event.data.status is Status.CONFIRMED


def openmetrics(worker):
    connection = http.client.HTTPConnection("127.0.0.1", worker.ready.metrics_port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"Accept": PROMETHEUS_ACCEPTS})
        answer = connection.getresponse()
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        return answer.read().decode()


def test_a_removed_stream_takes_its_gauges_along(farm):
    farm.want("one=synthetic:workcell?fps=10&seed=1", "two=synthetic:workcell?fps=10&seed=2")
    # It lets go of a stream once its end has been folded in.
    ingest, _, _ = farm.start("ingest", "encoder", "temporal")
    until(lambda: seen(ingest)["streamer_streams", "live"] == 2)
    gauges = {"streamer_stream_up", "streamer_stream_status", "streamer_stream_info"}
    until(lambda: gauges <= of_stream(ingest, "one"))
    until(lambda: gauges <= of_stream(ingest, "two"))
    farm.registry.remove("one")
    until(lambda: not gauges & of_stream(ingest, "one"))
    # What was counted is still there for a while.
    assert "streamer_frames_total" in of_stream(ingest, "one")
    assert gauges <= of_stream(ingest, "two")
    assert seen(ingest)["streamer_streams", "live"] == 1


def test_a_stream_that_is_handed_over_is_one_workers_at_a_time(farm):
    """The first worker is paused and so loses its lease; the second goes on in the same phase."""
    farm.want("cam=synthetic:workcell?fps=10")
    first, _, _ = farm.start("temporal", "ingest", "encoder", temporal__lease_seconds=1)
    farm.wait_for(lambda: any(_enters_phase(event) for event in farm.events()))
    second = farm.start("temporal", temporal__lease_seconds=1)[0]
    first._process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: "streamer_stream_phase" in of_stream(second, "cam"))
        until(lambda: seen(second)["streamer_active_streams",] == 1)
    finally:
        first._process.send_signal(signal.SIGCONT)
    until(lambda: "streamer_stream_phase" not in of_stream(first, "cam"))
    gauges = {"streamer_stream_phase", "streamer_stream_last_commit_timestamp_seconds"}
    until(lambda: gauges <= of_stream(second, "cam"))
    assert not gauges & of_stream(first, "cam")


def test_without_redis_the_backlog_is_unknown_and_metrics_are_served(farm, valkey):
    farm.want("cam=synthetic:workcell?fps=10")
    encoder, temporal = farm.start("encoder", "temporal")
    for worker, name in ((encoder, "frames_waiting"), (temporal, "input_lag_frames")):
        until(lambda worker=worker, name=name: seen(worker)[f"streamer_{name}",] == 0)
    valkey.kill()
    for worker, name in ((encoder, "frames_waiting"), (temporal, "input_lag_frames")):
        until(lambda worker=worker, name=name: math.isnan(seen(worker)[f"streamer_{name}",]))
        until(lambda worker=worker: seen(worker)["streamer_worker_ready",] == 0)


def test_the_gateway_counts_requests_by_route(farm):
    gateway = farm.start("gateway")[0]
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ready.port, timeout=5)
    with contextlib.closing(connection):
        for method, path in (
            ("GET", "/v1/health"),
            ("GET", "/v1/streams/somebody/timeline"),
            ("GET", "/v1/streams/another/timeline"),
            ("GET", "/no/such/page"),
            ("BREW", "/v1/streams"),
        ):
            connection.request(method, path, headers={"Host": "127.0.0.1"})
            answer = connection.getresponse()
            answer.read()
    counted = {
        key[1:]: value
        for key, value in seen(gateway).items()
        if key[0] == "streamer_gateway_requests_total"
    }
    assert counted["GET", "/v1/streams/{stream_id}/timeline", "401"] == 2
    assert counted["GET", "", "404"] == 1
    assert counted["other", "/v1/streams", "405"] == 1
    assert not any("somebody" in label for key in counted for label in key)
