"""Switching tracing on, and what a collector gets, or does not want."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from streamer.core.config import TracingSettings
from streamer.core.errors import ConfigError
from streamer.core.ledger import Ledger
from streamer.core.trace import TraceContext
from streamer.telemetry.otel import MAX_WAITING_SPANS, Complaints, OtelSink
from streamer.telemetry.tracing import Span, open_tracing
from tests.collector import Collector, hanging_collector, refusing_collector

NOW_NS = 1_767_225_600_000_000_000
TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
OTHER = TraceContext("1" * 32, "2" * 16)


# Switching it on.

_WITHOUT_OTEL = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from workers.main import main
from workers.encoder import EncoderService
sys.exit(main("encoder", lambda settings, observer, _: sys.exit(7), sys.argv[1:]))
"""


def without_otel(*arguments):
    command = [sys.executable, "-c", _WITHOUT_OTEL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_without_the_extra_everything_but_tracing_works():
    assert without_otel().returncode == 7
    done = without_otel("--set", "tracing.endpoint=http://127.0.0.1:4318")
    assert done.returncode == 2
    assert "tracing.endpoint: tracing needs OpenTelemetry" in done.stderr
    assert "pip install '.[otel]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_while_it_is_off_nothing_of_it_is_imported():
    # The Redis client imports OpenTelemetry's metrics by itself where it finds them.
    program = (
        "import sys; from streamer.core.config import TracingSettings; import workers.temporal; "
        "from streamer.telemetry.tracing import open_tracing; "
        "assert open_tracing(TracingSettings(), role='temporal') is None; "
        "print([m for m in sys.modules if m.startswith(('opentelemetry.exporter',"
        "'opentelemetry.sdk.trace', 'opentelemetry.proto', 'streamer.telemetry.otel'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_role_that_no_frame_passes_has_none():
    settings = TracingSettings(endpoint="http://127.0.0.1:4318")
    assert open_tracing(settings, role="gateway") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"endpoint": "collector:4318"}, "expected the URL of an OTLP/HTTP receiver"),
        ({"endpoint": "grpc://collector:4317"}, "found grpc://collector"),
        ({"endpoint": "http://me:secret@collector"}, "tracing.headers_file"),
        ({"endpoint": "http://c", "headers_file": "/nowhere"}, "headers_file /nowhere: can't be"),
        ({"endpoint": "http://c", "tls_ca": "/nowhere"}, "expected a PEM file"),
    ],
)
def test_wrong_settings_are_said(changes, said):
    with pytest.raises(ConfigError) as caught:
        open_tracing(TracingSettings(**changes), role="encoder")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_wrong_variable_of_opentelemetry_is_named(monkeypatch):
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    with pytest.raises(ConfigError, match="OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"):
        OtelSink(TracingSettings(endpoint="http://c"), role="encoder")


def test_a_wrong_line_of_headers_is_named_by_its_number_alone(tmp_path):
    file = tmp_path / "headers"
    file.write_text("# for the receiver\nAuthorization: Bearer abc\nsecret\n")
    with pytest.raises(ConfigError, match=r"line 3: expected `Name: value`$"):
        OtelSink(TracingSettings(endpoint="http://c", headers_file=str(file)), role="encoder")


def span(seq=0):
    now_ns = NOW_NS + seq
    return Span(name="ingest", start_ns=now_ns, end_ns=now_ns + 1, own=TRACE, links=[OTHER])


def test_a_span_arrives_as_it_was_said(tmp_path):
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer abc\n")
    with closing(Collector()) as collector:
        sink = OtelSink(
            TracingSettings(endpoint=f"{collector.url}/", headers_file=str(headers)), role="encoder"
        )
        assert sink.emit(span()) == TRACE
        below = sink.emit(replace(span(1), own=None, parent=TRACE, name="commit", error="stale"))
        alone = sink.emit(replace(span(2), own=None, name="encode_batch"))
        sink.close(deadline_seconds=20)
        first, second, third = collector.spans
    assert (first.trace_id, first.span_id) == (TRACE.trace_id, TRACE.span_id)
    assert (first.service, first.name, first.parent_id) == ("streamer-encoder", "ingest", "")
    assert (first.start_ns, first.end_ns) == (NOW_NS, NOW_NS + 1)
    assert first.links == ((OTHER.trace_id, OTHER.span_id),)
    assert (second.trace_id, second.span_id) == (TRACE.trace_id, below.span_id)
    assert (second.parent_id, second.error) == (TRACE.span_id, "stale")
    assert (third.trace_id, third.parent_id) == (alone.trace_id, "")
    assert third.trace_id != TRACE.trace_id
    assert collector.headers[0]["authorization"] == "Bearer abc"


@pytest.mark.timeout(20)  # the library's own shutdown waits for 30 seconds
@pytest.mark.parametrize("kind", ["refusing", "hanging", "failing"])
def test_a_collector_that_is_none_delays_nobody(kind):
    with capture_logs() as said, ExitStack() as stack:
        stack.callback(_join_senders)  # once the collector is gone: nothing is said later
        if kind == "failing":
            collector = stack.enter_context(closing(Collector(status=500)))
            url = collector.url
        else:
            made = refusing_collector() if kind == "refusing" else hanging_collector()
            url = stack.enter_context(made)
        sink = OtelSink(TracingSettings(endpoint=url, timeout_seconds=0.5), role="encoder")
        for seq in range(2 * MAX_WAITING_SPANS):
            sink.emit(span(seq))
        sink.close(deadline_seconds=1.0)
    assert {line["event"] for line in said} & {"tracing", "spans given up"}
    assert {line["log_level"] for line in said} == {"warning"}
    assert not any("Traceback" in str(line) or "exc_info" in line for line in said)
    assert len(said) <= 6


def _join_senders():
    for thread in threading.enumerate():
        if thread.name in ("spans", "OtelBatchSpanRecordProcessor"):
            thread.join()


def test_complaints_are_a_line_each_and_not_too_many():
    now = [0.0]
    complaints = Complaints("http://collector", clock=lambda: now[0])
    logger = logging.getLogger("tests.complaints")
    logger.handlers, logger.propagate = [complaints], False
    with capture_logs() as said:
        for second in range(120):
            now[0] = float(second)
            logger.error("no answer from %s", f"collector {second}")
            try:
                raise OSError("broken pipe")
            except OSError:
                logger.exception("while exporting")
    assert [(line["detail"], line["left_out"]) for line in said] == [
        ("no answer from collector 0", 0),
        ("while exporting OSError('broken pipe')", 0),
        ("no answer from collector 60", 59),
        ("while exporting OSError('broken pipe')", 59),
    ]
    keys = {"event", "log_level", "detail", "endpoint", "left_out"}
    assert all(line.keys() == keys for line in said)


def test_the_page_names_every_setting_and_every_span():
    page = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    settings = {f"tracing.{name}" for name in TracingSettings.model_fields}
    stages = {name.removesuffix("_seconds") for name in Ledger.__struct_fields__}
    spans = stages - {"decode", "lookahead_wait"} | {"ingest", "publish", "drop"}
    assert rows == settings | spans
    assert all(f"`{name}`" in page for name in ("encode_batch", "temporal_batch"))
