from __future__ import annotations

import itertools
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from streamer.client.timeline import EPOCHS_KEPT, Timeline
from streamer.core.event import Status, decode_event, encode_event
from tests.histories import History

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from streamer.client.bands import Band, TimelineView
    from streamer.core.event import Event

histories = st.builds(
    lambda seed, steps: History(Random(seed)).walk(steps),
    st.integers(0, 2**32),
    st.integers(0, 80),
)


def folded(events: Sequence[Event]) -> Timeline:
    timeline = Timeline()
    for event in events:
        timeline.take(event)
    return timeline


def spans(bands: Sequence[Band]) -> list[tuple[str, int, int | None]]:
    return [(band.label, band.start_ns, band.end_ns) for band in bands]


def confirmed(view: TimelineView) -> list[Band]:
    return [band for band in view.phases if band.status is Status.CONFIRMED]


@given(histories)
def test_bands_are_the_segments_that_were_meant(history: History) -> None:
    view = folded(history.events).view()
    # The open phase is drawn until the first announcement after it.
    cut = min((start for _, start, _ in history.announced), default=None)
    meant = [(p.label, p.start_ns, cut if p.end_ns is None else p.end_ns) for p in history.phases]
    if cut is not None:
        meant = [(label, s, e if e is None else min(e, cut)) for label, s, e in meant]
    assert spans(confirmed(view)) == [m for m in meant if m[2] is None or m[2] > m[1]]
    assert [b.confidence for b in folded(history.events).view().actions] == [
        a.confidence for a in history.actions
    ]
    assert spans(view.actions) == [(a.label, a.start_ns, a.end_ns) for a in history.actions]
    assert spans(view.anomalies) == [("", a.start_ns, a.end_ns) for a in history.anomalies]
    assert [(gap.start_ns, gap.end_ns) for gap in view.gaps] == history.gaps
    assert view.next_sequence == len(history.events)


@given(histories)
def test_announcements_are_shown_until_they_are_confirmed_or_retracted(history: History) -> None:
    view = folded(history.events).view()
    announced = [b for b in view.phases if b.status is Status.PROVISIONAL]
    assert [(b.label, b.start_ns) for b in announced] == [
        (label, start) for label, start, _ in sorted(history.announced, key=lambda a: a[1])
    ]
    history.end()
    assert all(b.status is Status.CONFIRMED for b in folded(history.events).view().phases)


@given(histories)
def test_one_phase_at_a_time_and_at_most_the_last_is_open(history: History) -> None:
    timeline = Timeline()
    for event in history.events:
        timeline.take(event)
        phases = timeline.view().phases
        for band, after in itertools.pairwise(phases):
            assert band.end_ns is not None
            assert band.end_ns <= after.start_ns


@given(histories, st.integers(0, 10_000))
def test_a_fold_may_begin_anywhere(history: History, place: int) -> None:
    """What began after its first event is the same; so is what ended after it."""
    at = place % (len(history.events) + 1)
    since = int(history.events[at].data.timing.captured_ns) if at < len(history.events) else 2**63
    whole, late = folded(history.events).view(), folded(history.events[at:]).view()
    for kind in ("actions", "anomalies"):
        expected = [b for b in getattr(whole, kind) if b.start_ns > since]
        assert [b for b in getattr(late, kind) if b.start_ns > since] == expected
    began = [b for b in confirmed(whole) if b.start_ns > since]
    assert [b for b in confirmed(late) if b.start_ns > since] == began
    ended = [b for b in confirmed(late) if b.end_ns is not None]
    if history.announced and ended:
        ended.pop()  # it goes on, and is drawn until the first announcement that was seen
    assert set(spans(ended)) <= set(spans(confirmed(whole)))


@given(histories, st.integers(0, 200))
def test_forgetting_keeps_what_reaches_past_the_time(history: History, frames: int) -> None:
    timeline = folded(history.events)
    since_ns = history.begin_ns + frames * 10**8
    before = timeline.view(since_ns)
    timeline.forget(since_ns)
    assert timeline.view(since_ns) == before


@given(histories)
def test_the_json_of_events_folds_to_the_same(history: History) -> None:
    through = [decode_event(encode_event(event)) for event in history.events]
    assert folded(through).view() == folded(history.events).view()


@given(histories)
def test_after_missed_events_nothing_stays_open(history: History) -> None:
    timeline = folded(history.events)
    timeline.close()
    view = timeline.view()
    bands = (*view.phases, *view.actions, *view.anomalies)
    assert all(band.end_ns is not None for band in bands)
    assert all(band.status is not Status.PROVISIONAL for band in view.phases)


def test_bands_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.client.timeline.MAX_BANDS", 20)
    history = History(Random(1)).walk(2_000)
    history.end()
    timeline = folded(history.events)
    view = timeline.view()
    assert [len(bands) for bands in (view.phases, view.actions, view.gaps)] == [20, 20, 20]
    assert len(timeline.origins) <= EPOCHS_KEPT
