"""Every expression names what the code has: metrics, labels, values, recording rules."""

from __future__ import annotations

import re

import pytest

from streamer.telemetry.families import CATALOG, Kind
from tests.dashboards import every_query, rules
from tests.promql import Selector, grouping_labels, selectors, without_conditions

TARGET_LABELS = {"job", "instance", "role"}
"""Put by Prometheus, on whatever it scrapes."""

ALERT_LABELS = {"alertname", "alertstate", "severity"}

OTHERS = re.compile(r"(redis|process|python|scrape|prometheus)_\w+|DCGM_FI_\w+|up|ALERTS")
"""Metrics of Prometheus, of its Python client, and of other exporters."""

SUFFIXES = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
BY_NAME = {
    f"{family.name}{suffix}": family
    for family in CATALOG
    for suffix in SUFFIXES.get(family.kind, ("",))
}
RECORDED = {rule["record"] for rule in rules("recording.yml")}


def faults(expr: str) -> list[str]:
    """What it names and nobody has."""
    found, labels = [], TARGET_LABELS | ALERT_LABELS | {"stream"}
    for selector in selectors(expr):
        family = BY_NAME.get(selector.metric)
        if family is None:
            if selector.metric not in RECORDED and not OTHERS.fullmatch(selector.metric):
                found.append(f"unknown metric {selector.metric}")
            labels |= {"cmd", "gpu"}
            continue
        labels |= {*family.label_names, "le"}
        for label, how, value in selector.matchers:
            if label not in {*family.label_names, *TARGET_LABELS}:
                found.append(f"{selector.metric} has no label {label}")
            elif label == "role" and how == "=" and value not in family.roles:
                found.append(f"no {value} worker has {selector.metric}")
            elif not values_known(family, label, how, value):
                found.append(f"{label} of {selector.metric} is never {value}")
    return found + [f"unknown label {label}" for label in grouping_labels(expr) - labels]


def values_known(family, label, how, value):
    """Whether the reference knows each value; of a label with values it can't list, any goes."""
    known = set(re.findall(r"`([^`]+)`", family.labels.get(label, "")))
    free = not known or value.startswith("$") or not value
    return free or how.startswith("!") or set(value.split("|")) <= known


@pytest.mark.parametrize("asked", every_query(), ids=str)
def test_it_names_only_what_there_is(asked):
    assert selectors(asked.expr), "it reads nothing"
    assert faults(asked.expr) == []


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("sum(rate(streamer_frame_total[5m]))", "unknown metric streamer_frame_total"),
        ("streamer:late:ratio > 0.1", "unknown metric streamer:late:ratio"),
        ("streamer_event_latency_seconds", "unknown metric streamer_event_latency_seconds"),
        ('streamer_streams{status="live"}', "streamer_streams has no label status"),
        ('streamer_streams{state=~"live|well"}', "state of streamer_streams is never live|well"),
        ("sum by (reson) (streamer_frames_dropped_total)", "unknown label reson"),
        (
            'streamer_stream_up{role="gateway"}',
            "no gateway worker has streamer_stream_up",
        ),
    ],
)
def test_what_nobody_has_is_found(expr, fault):
    assert faults(expr) == [fault]


def test_selectors_are_found_wherever_they_stand():
    expr = (
        'sum by (a, b) (rate(x_total{stream=~"$stream", c!="d"}[$__rate_interval])) / 2^20 '
        "> 2 * max(y offset 1d) and on (z) w:v unless up == 1 or vector(0)"
    )
    matchers = (("stream", "=~", "$stream"), ("c", "!=", "d"))
    wanted = [Selector("x_total", matchers), Selector("y"), Selector("w:v"), Selector("up")]
    assert selectors(expr) == wanted
    assert grouping_labels(expr) == {"a", "b", "z"}


def test_an_alert_without_its_conditions_keeps_its_labels():
    expr = 'absent(up{role=~"a"} == 1) and on (x) y >= 2 unless avg_over_time(z[3d] offset 1d) < 3'
    assert without_conditions(expr) == (
        '(up{role=~"a"} == bool 1) and on (x) y >= bool 2 unless avg_over_time(z[3d] ) < bool 3'
    )
