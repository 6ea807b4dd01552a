"""The page's files, and its fold beside Python's."""

from __future__ import annotations

import json
from random import Random

import httpx
import msgspec
import pytest

from streamer.client.timeline import Timeline
from streamer.core.event import Status, encode_event
from tests.histories import History

FOLD = """async ([events, split, info]) => {
  const { Timeline } = await import("/web/timeline.js");
  const timeline = info ? Timeline.of(info) : new Timeline();
  for (const event of events.slice(split)) timeline.take(event);
  const plain = (bands) => bands.map((b) => [b.label, b.start, b.end, b.status]);
  return {
    phases: plain(timeline.phasesInOrder()), actions: plain(timeline.actions),
    gaps: timeline.gaps.map(({ start, end }) => [start, end]), next: timeline.next,
    states: timeline.statuses.map(({ state }) => state),
  };
}"""


def milliseconds(ns):
    return None if ns is None else ns / 1e6


def plain(bands):
    return [[b.label, milliseconds(b.start_ns), milliseconds(b.end_ns), b.status] for b in bands]


def expected(timeline):
    view = timeline.view()
    return {
        "phases": plain(view.phases),
        "actions": plain(view.actions),
        "gaps": [[milliseconds(g.start_ns), milliseconds(g.end_ns)] for g in view.gaps],
        "next": view.next_sequence,
        "states": [status.state for status in view.statuses],
    }


def as_info(timeline):
    """As `/timeline` gives it."""
    view = msgspec.to_builtins(timeline.view())
    for bands in (view[k] for k in ("phases", "actions", "anomalies", "gaps", "statuses")):
        for band in bands:
            for key in ("start_ns", "end_ns"):
                band[key] = None if band[key] is None else str(band[key])
    return {**view, "last_ns": str(view["last_ns"])}


@pytest.mark.parametrize("seed", range(25))
def test_the_page_folds_events_as_python_does(shared_page, seed):
    rng = Random(seed)
    # Whole milliseconds, so that doubles say the same as integers.
    history = History(rng, begin_ns=1_767_225_600_000_000_000).walk(rng.randint(1, 200))
    events = [json.loads(encode_event(event)) for event in history.events]
    timeline = Timeline()
    for event in history.events:
        timeline.take(event)
    assert shared_page.evaluate(FOLD, [events, 0, None]) == approx(expected(timeline))

    split = rng.randint(0, len(events))
    before = Timeline()
    for event in history.events[:split]:
        before.take(event)
    ended = {k: v for k, v in expected(timeline).items() if k in ("actions", "next")}
    late = shared_page.evaluate(FOLD, [events, split, as_info(before)])
    assert {k: late[k] for k in ended} == approx(ended)
    confirmed = [b for b in expected(timeline)["phases"] if b[3] == Status.CONFIRMED and b[2]]
    assert [b for b in late["phases"] if b[3] == "confirmed" and b[2]] == approx(confirmed)


def approx(value):
    """The same, numbers to a microsecond."""
    if isinstance(value, dict):
        return {key: approx(item) for key, item in value.items()}
    if isinstance(value, list):
        return [approx(item) for item in value]
    return pytest.approx(value, abs=1e-2) if isinstance(value, float) else value


@pytest.fixture
def shared_page(open_page):
    return open_page()


def test_files_are_asked_for_by_digest(wall):
    page = httpx.get(wall.url)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    again = httpx.get(wall.url, headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    script = httpx.get(f"{wall.url}/web/main.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["etag"] != page.headers["etag"]


@pytest.mark.parametrize(
    "name", ["none.js", "..%2fapp.py", "%2e%2e/app.py", "__init__.py", "../../etc/passwd"]
)
def test_no_other_file_is_served(wall, name):
    answer = httpx.get(f"{wall.url}/web/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
