"""Every query of the dashboards and rules, asked of a real Prometheus about a real run.

And scrapers that hang, which the run has to bear.
"""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from tests.dashboards import (
    LABEL_VALUES,
    annotation_queries,
    every_query,
    panel_queries,
    rule_queries,
    runbook_queries,
    variable_queries,
)
from tests.monitoring.conftest import RARE, filled_in
from tests.monitoring.test_expressions import BY_NAME, values_known
from tests.prometheus_server import GRAFANA_URL, wait_until
from tests.promql import Selector, selectors, without_conditions

pytestmark = pytest.mark.alone


def rare(expr):
    """Whether all it reads is what this run can't have."""
    return all(str(selector) in RARE for selector in selectors(expr))


@pytest.mark.parametrize("asked", panel_queries(), ids=str)
def test_a_panel_has_data(watched, asked):
    expr = filled_in(asked.expr)
    if rare(expr):
        watched.now(expr)  # valid all the same
        return
    assert watched.now(expr) if asked.instant else watched.over_time(expr)


@pytest.mark.parametrize("asked", annotation_queries(), ids=str)
def test_an_annotation_has_something_to_mark(watched, asked):
    assert watched.over_time(filled_in(asked.expr))


@pytest.mark.parametrize("asked", variable_queries(), ids=str)
def test_a_variable_has_values(watched, asked):
    selector, label = LABEL_VALUES.fullmatch(asked.expr).groups()
    assert watched.label_values(label, selector)


@pytest.mark.parametrize("asked", rule_queries(), ids=str)
def test_a_rule_is_valid_and_has_what_it_compares(watched, asked):
    watched.now(asked.expr)
    assert watched.now(without_conditions(asked.expr))


@pytest.mark.parametrize("asked", runbook_queries(), ids=str)
def test_a_query_of_a_runbook_is_valid(watched, asked):
    watched.now(asked.expr)


def test_alerts_link_to_the_grafana_that_the_environment_names(watched):
    linked = {alert["annotations"]["runbook_url"] for alert in watched.alerts()}
    assert linked
    assert all(url.startswith(f"{GRAFANA_URL}/d/runbook-") for url in linked)


def test_each_selector_finds_series(watched):
    """So that `or` and `unless` hide no misspelt name."""
    wanted = {s for asked in every_query() for s in selectors(filled_in(asked.expr))}
    assert [str(s) for s in wanted if not found(watched, s)] == []


def found(prometheus, selector):
    """Whether it has series; or the metric has, and the reference knows the values asked for."""
    if str(selector) in RARE or prometheus.now(f"last_over_time({selector}[5m])"):
        return True
    family = BY_NAME.get(selector.metric)
    return (
        family is not None
        and all(values_known(family, *matcher) for matcher in selector.matchers)
        and bool(prometheus.now(f"last_over_time({Selector(selector.metric)}[5m])"))
    )


def test_what_is_misspelt_is_not_found(watched):
    assert not found(watched, Selector("streamer_frame_total"))
    assert not found(watched, Selector("streamer_streams", (("state", "=", "well"),)))
    assert not found(watched, Selector("redis_upp"))


EACH = 50
"""Connections of each kind, at every worker."""


def number(prometheus, expr):
    (series,) = prometheus.now(expr)
    return float(series["value"][1])


@pytest.fixture
def hanging(watched):
    """Of a hundred scrapers of every worker, half never end their request, half never read."""
    with contextlib.ExitStack() as stack:
        for series in watched.now('up{job="streamer"}'):
            host, _, port = series["metric"]["instance"].rpartition(":")
            for request in (b"GET /metrics HT", b"GET /metrics HTTP/1.1\r\nHost: worker\r\n\r\n"):
                for _ in range(EACH):
                    connection = socket.socket()
                    stack.callback(connection.close)
                    # So little that an answer does not fit: the worker's write has to wait.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                    connection.settimeout(5)
                    connection.connect((host, int(port)))
                    connection.sendall(request)
        yield


@pytest.mark.usefixtures("hanging")
def test_workers_answer_other_scrapers_and_go_on(watched):
    begun, events = time.time(), "sum(streamer_events_total)"
    before = number(watched, events)

    def scraped_since():
        oldest = number(watched, 'min(timestamp(up{job="streamer"}))')
        return oldest > begun + 2 and number(watched, events) > before

    # What Prometheus counts, it has scraped: events go on, and so does the metrics page.
    wait_until(scraped_since, "scrapes and events")
    assert number(watched, 'min(up{job="streamer"})') == 1
    assert number(watched, "min(streamer_worker_ready)") == 1
