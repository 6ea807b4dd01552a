"""The page of metrics, the declarations and the code say the same."""

from __future__ import annotations

import re
import typing
from collections import Counter

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from reference.metrics import text
from streamer.core.config import MetricsSettings
from streamer.runtime.health import Health
from streamer.telemetry.families import CATALOG, Kind, Level, Role, of_role
from streamer.telemetry.families.every import WORKER_READY
from streamer.telemetry.observer import Record
from streamer.telemetry.prometheus import PrometheusObserver
from tests.metrics import PAGE, families_of, families_on_page
from workers.gateway.metrics import GatewayMetrics

UNITS = ("seconds", "bytes", "nats")
WRONG_UNITS = ("ms", "milliseconds", "minutes", "us", "ns", "kb", "mb", "percent")
BOUNDED = {
    "answer", "backend", "change", "clock", "device", "encoder", "height", "kind", "label",
    "labels", "method", "model", "name", "operation", "outcome", "phase", "reason", "role",
    "route", "stage", "state", "status", "step", "stream", "transport", "type", "version", "what",
    "width",
}  # fmt: skip
"""Labels whose values are words of the code, of the model, or of the settings."""


def registry_of(role):
    """Everything that a worker of the role registers."""
    registry = PrometheusObserver(role, MetricsSettings()).registry
    WORKER_READY.gauge(registry).set_function(lambda: float(Health().ready))
    if role is Role.GATEWAY:
        GatewayMetrics(registry)
    return registry


def test_the_page_is_written_from_the_code():
    assert PAGE.read_text().endswith(text()), "docs/metrics.md is stale: make generated"


@pytest.mark.parametrize("role", Role)
def test_each_role_registers_what_is_declared_and_nothing_else(role):
    names = families_of(generate_latest(registry_of(role)).decode())
    assert names == {family.name for family in of_role(role)} == families_on_page(role.value)


def test_every_declared_family_is_some_roles():
    assert all(family.roles for family in CATALOG)
    assert Counter(family.name for family in CATALOG).most_common(1)[0][1] == 1


@pytest.mark.parametrize("family", CATALOG, ids=lambda family: family.name)
def test_conventions(family):
    """https://prometheus.io/docs/practices/naming/"""
    assert re.fullmatch(r"streamer(_[a-z0-9]+)+", family.name)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    words = family.name.split("_")
    assert not set(words) & set(WRONG_UNITS)
    assert not set(words) & {"bucket", "sum", "count", "created"}
    for unit in set(words) & set(UNITS):
        # "lag_seconds", and with a counter "lag_seconds_total": the unit is the last word.
        assert family.name.removesuffix("_total").endswith(unit)
        assert family.unit == unit
    assert family.meaning[0].isupper() or family.meaning[0].isdigit() or family.meaning[0] == "p"
    assert family.meaning.endswith(".")
    assert "\n" not in family.meaning
    assert "|" not in family.meaning + "".join(family.labels.values())
    assert set(family.labels) <= BOUNDED
    assert all(family.labels.values()), "say what the values are"
    by_stream = family.level is not Level.WORKER
    assert (next(iter(family.labels), "") == "stream") == by_stream
    assert "stream" not in list(family.labels)[1:]
    if family.kind is Kind.HISTOGRAM:
        assert not by_stream
    if family.name.endswith("_info"):
        assert family.kind is Kind.GAUGE
        assert family.labels


@pytest.mark.parametrize("role", Role)
def test_no_role_has_more_than_three_series_per_stream(role):
    core = [family for family in of_role(role) if family.level is Level.CORE]
    assert len(core) <= 3


@pytest.mark.parametrize("role", Role)
def test_openmetrics_can_read_it(role):
    from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

    found = parse_openmetrics(openmetrics(registry_of(role)).decode())
    names = {family.name for family in found}
    assert {family.name.removesuffix("_total") for family in of_role(role)} <= names


def test_every_record_is_translated_or_for_the_log_alone():
    handled = set(PrometheusObserver()._handlers)
    assert handled == set(typing.get_args(Record))
