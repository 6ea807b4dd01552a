"""The client: cursors, filters, server-sent events, repeats and holes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.client.continuity import WINDOW, Continuity, Hole, HoleReason
from streamer.client.cursor import START, Cursor, EntryId, parse_since
from streamer.client.filter import EventFilter
from streamer.client.gap import GapReason, LogRange, find_gap, seconds_before
from streamer.client.link import Entry, Missed, Position, Rewound
from streamer.client.sse import SseMessage, parse_sse
from streamer.client.subscription import Subscription, subscribe
from streamer.core.errors import ConfigError, TransportError
from streamer.core.event import EventType, encode_event
from tests.eventlog import make_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.client.link import Message

PARTS = st.integers(0, 2**64 - 1)


@given(PARTS, PARTS)
def test_an_entry_id_survives_its_text(ms, serial):
    assert EntryId.parse(str(EntryId(ms, serial))) == EntryId(ms, serial)


@given(st.tuples(PARTS, PARTS), st.tuples(PARTS, PARTS))
def test_entry_ids_sort_as_numbers(a, b):
    assert (EntryId(*a) < EntryId(*b)) == (a < b)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172_800), ("5ms", 0.005)],
)
def test_since_as_a_duration(text, seconds):
    assert parse_since(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "entry"), [("0", START), ("0-0", START), ("17-3", EntryId(17, 3))]
)
def test_since_as_an_entry(text, entry):
    assert parse_since(text) == Cursor(rest=entry)


PLACES = st.dictionaries(st.integers(0, 1023), st.builds(EntryId, PARTS, PARTS), max_size=64)


@given(PLACES)
def test_a_cursor_of_many_partitions_survives_its_text(places):
    cursor = Cursor.of(places, num_partitions=1024)
    read = parse_since(str(cursor))
    assert isinstance(read, Cursor)
    assert all(read[at] == places.get(at, START) for at in range(1024))
    assert quote(str(cursor), safe=":,") == str(cursor)


def test_the_text_of_cursors():
    assert str(Cursor.of({0: EntryId(17, 3)}, num_partitions=1)) == "17-3"
    places = {5: EntryId(17, 3), 0: EntryId(18, 0), 7: START}
    assert str(Cursor.of(places, num_partitions=8)) == "0:18-0,5:17-3"
    assert str(Cursor.of({}, num_partitions=8)) == "0-0"
    assert Cursor.parse("17-3")[63] == EntryId(17, 3)


@pytest.mark.parametrize("text", ["0:", "0:1,", "0:1,0:2", "a:1", "01:1", "-1:1", "0:1-2:3", ":1"])
def test_texts_that_are_no_cursors(text):
    with pytest.raises(ConfigError, match="expected"):
        Cursor.parse(text)


@pytest.mark.parametrize(
    "text", ["", "m", "10x", "-1s", "1-", "1-2-3", "9" * 21, f"{2**64}-0", "\u0661m"]
)
def test_since_that_is_neither(text):
    with pytest.raises(ConfigError, match="since: expected a duration"):
        parse_since(text)


def test_a_time_is_a_place_by_the_servers_clock():
    assert seconds_before((100, 500_000), 60.0) == EntryId(40_500, 0)
    assert seconds_before((100, 0), 500.0) == START


FIRST, LAST = EntryId(50, 0), EntryId(90, 0)


@pytest.mark.parametrize(
    ("cursor", "trimmed", "present", "reason"),
    [
        (EntryId(40, 0), False, False, None),  # a time before the first event
        (EntryId(40, 0), True, False, GapReason.TRIMMED),
        (START, True, False, GapReason.TRIMMED),
        (START, False, False, None),
        (EntryId(50, 0), True, True, None),
        (EntryId(70, 0), True, False, None),  # a time within what is kept
        (LAST, True, True, None),
        (EntryId(90, 1), False, False, GapReason.RESTARTED),
    ],
)
def test_gaps(cursor, trimmed, present, reason):
    assert find_gap(cursor, LogRange(FIRST, LAST, trimmed), present=present) == reason


@pytest.mark.parametrize(
    ("cursor", "trimmed", "reason"),
    [
        (EntryId(40, 0), False, GapReason.RESTARTED),
        (EntryId(40, 0), True, GapReason.TRIMMED),
        (EntryId(70, 0), False, GapReason.RESTARTED),
        (EntryId(70, 0), True, GapReason.RESTARTED),
        (LAST, True, None),
        (START, False, None),
    ],
)
def test_an_entry_that_is_gone_though_the_log_reaches_back_is_a_gap(cursor, trimmed, reason):
    log = LogRange(FIRST, LAST, trimmed)
    assert find_gap(cursor, log, present=False, is_entry=True) == reason
    assert find_gap(cursor, log, present=True, is_entry=True) is None


def test_a_log_trimmed_to_nothing_is_no_gap_for_whoever_has_seen_its_last_entry():
    empty = LogRange(first=None, last=LAST, trimmed=True)
    assert find_gap(LAST, empty, present=False) is None
    assert find_gap(EntryId(89, 0), empty, present=False) is not None


def test_types_are_globs_with_or_without_the_prefix():
    wanted = EventFilter(types=("action.*", "streamer.phase.transition"))
    taken = {type for type in EventType if wanted.takes_type(type)}
    assert taken == {
        EventType.ACTION_START,
        EventType.ACTION_UPDATE,
        EventType.ACTION_END,
        EventType.PHASE_TRANSITION,
    }
    assert all(EventFilter().takes_type(type) for type in EventType)


def test_server_sent_events():
    lines = [
        b"retry: 1000\n",
        b": hello\n",
        b"id: 1-0\n",
        b"\n",
        b"event: streamer.stream.gap\r\n",
        b"data: a\r\n",
        b"data:b\r\n",
        b"\r\n",
        b"id: 2-0\n",
        b"data: {}\n",
        b"\n",
        b"data: unfinished\n",
    ]
    assert list(parse_sse(lines)) == [
        SseMessage("message", "", "1-0"),
        SseMessage("streamer.stream.gap", "a\nb", "1-0"),
        SseMessage("message", "{}", "2-0"),
    ]


def test_numbers_in_order_are_new_and_whole():
    continuity = Continuity()
    for number in range(5, 5 + 2 * WINDOW):
        assert continuity.take(make_event(number)) == (True, None)


def test_a_left_out_number_is_a_hole():
    continuity = Continuity()
    continuity.take(make_event(0))
    new, hole = continuity.take(make_event(4))
    assert new
    assert hole == Hole(reason=HoleReason.MISSING, stream_id="cam", first_missing=1, count=3)


def test_the_same_event_again_is_a_repeat():
    continuity = Continuity()
    for number in range(4):
        continuity.take(make_event(number))
    assert continuity.take(make_event(2)) == (False, None)
    assert continuity.take(make_event(4)) == (True, None)


def test_another_event_with_a_used_number_is_a_new_beginning():
    continuity = Continuity()
    for number in range(4):
        continuity.take(make_event(number))
    for number in range(4):
        new, hole = continuity.take(make_event(number, epoch=2))
        assert new
        assert (hole and hole.reason) == (HoleReason.RESTARTED if number == 0 else None)


def test_streams_are_counted_apart():
    continuity = Continuity()
    assert continuity.take(make_event(0, stream="a")) == (True, None)
    assert continuity.take(make_event(7, stream="b")) == (True, None)
    assert continuity.take(make_event(1, stream="a")) == (True, None)


@given(st.lists(st.integers(0, 30), max_size=60))
def test_whatever_comes_again_every_event_is_given_once(jumps):
    """A reader thrown back by any number of events, as after a fail-over, repeats nothing."""
    continuity, given_out, number = Continuity(), [], 0
    for jump in [*jumps, 0]:
        for again in range(max(0, number - jump), number + 3):
            new, hole = continuity.take(make_event(again))
            assert hole is None
            if new:
                given_out.append(again)
        number += 3
    assert given_out == list(range(number))


def test_after_a_rewind_repeats_from_before_what_is_remembered_are_known_by_their_time():
    continuity = Continuity()
    num = 3 * WINDOW
    for number in range(num):
        continuity.take(make_event(number))
    continuity.rewind()
    assert [continuity.take(make_event(n)) for n in range(num)] == [(False, None)] * num
    assert continuity.take(make_event(num)) == (True, None)


def test_without_a_rewind_or_with_later_events_it_is_a_new_beginning():
    for rewinds, epoch in ((False, 1), (True, 2)):
        continuity = Continuity()
        for number in range(3 * WINDOW):
            continuity.take(make_event(number))
        if rewinds:
            continuity.rewind()
        new, hole = continuity.take(make_event(0, epoch=epoch))
        assert new
        assert hole == Hole(reason=HoleReason.RESTARTED, stream_id="cam")


class ScriptedLink:
    """Delivers one script per connection; a script's exception breaks it."""

    def __init__(self, *scripts: Sequence[Message | Exception]) -> None:
        self._scripts = list(scripts)
        self.cursors: list[Cursor | None] = []
        self.closed = 0

    def messages(self, cursor: Cursor | None) -> Iterator[Message]:
        self.cursors.append(cursor)
        for message in self._scripts.pop(0):
            if isinstance(message, Exception):
                raise message
            yield message

    def close(self) -> None:
        self.closed += 1

    def interrupt(self) -> None:
        pass


def place(ms: int) -> Cursor:
    return Cursor(rest=EntryId(ms, 0))


def entry(number: int, **changes) -> Entry:
    return Entry(place(100 + number), encode_event(make_event(number, **changes)))


LIVE = Position(None, live=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("streamer.client.subscription.RETRY_SECONDS", (0.0,))


def numbers(subscription: Subscription) -> list[int]:
    return [event.number for event in subscription]


def test_a_broken_connection_goes_on_from_the_cursor_without_repeats():
    lost = TransportError("gone")
    link = ScriptedLink(
        [Position(place(99)), entry(0), entry(1), lost],
        [TransportError("still gone")],
        [entry(1), entry(2), LIVE],
    )
    told = []
    subscription = Subscription(link, wanted=EventFilter(), follow=False, on_lost=told.append)
    assert numbers(subscription) == [0, 1, 2]
    assert link.cursors == [None, place(101), place(101)]
    assert told[0] is lost
    assert len(told) == 2
    assert not subscription.holes
    assert link.closed == 3


def test_a_connection_that_just_ends_is_made_again():
    link = ScriptedLink([Position(place(9)), entry(0)], [entry(1), LIVE])
    assert numbers(Subscription(link, wanted=EventFilter(), follow=False)) == [0, 1]


def test_a_connection_that_never_was_is_an_error():
    subscription = Subscription(ScriptedLink([TransportError("refused")]), wanted=EventFilter())
    with pytest.raises(TransportError, match="refused"):
        next(subscription)


def test_what_no_retry_mends_is_an_error():
    error = TransportError("no event", retryable=False)
    link = ScriptedLink([Position(place(9)), entry(0), error])
    subscription = Subscription(link, wanted=EventFilter())
    assert next(subscription).number == 0
    with pytest.raises(TransportError, match="no event"):
        next(subscription)


def test_a_hole_is_told_before_the_event_after_it():
    seen = []
    link = ScriptedLink([Position(place(9)), entry(0), entry(3), LIVE])
    subscription = Subscription(link, wanted=EventFilter(), follow=False, on_hole=seen.append)
    for event in subscription:
        seen.append(event.number)  # noqa: PERF401  # on_hole writes into it too
    hole = Hole(reason=HoleReason.MISSING, stream_id="cam", first_missing=1, count=2)
    assert seen == [0, hole, 3]
    assert list(subscription.holes) == [hole]


def test_unwanted_types_are_left_out_and_are_no_holes():
    link = ScriptedLink(
        [Position(place(9)), entry(0), entry(1, type=EventType.ACTION_START), entry(2), LIVE]
    )
    subscription = Subscription(link, wanted=EventFilter(types=("action.*",)), follow=False)
    assert numbers(subscription) == [1]
    assert not subscription.holes


def test_after_a_rewind_the_cursor_is_back_and_nothing_comes_twice():
    link = ScriptedLink(
        [Position(place(9)), *(entry(n) for n in range(WINDOW + 9))],
        [Rewound(place(100)), TransportError("gone")],
        [*(entry(n) for n in range(1, WINDOW + 10)), LIVE],
    )
    subscription = Subscription(link, wanted=EventFilter(), follow=False)
    assert numbers(subscription) == list(range(WINDOW + 10))
    assert link.cursors[2] == place(100)
    assert not subscription.holes


def test_a_gap_is_a_hole_and_moves_the_cursor():
    link = ScriptedLink(
        [Missed(place(50), GapReason.TRIMMED)], [Missed(place(60), GapReason.RESTARTED), LIVE]
    )
    subscription = Subscription(link, wanted=EventFilter(), follow=False)
    assert numbers(subscription) == []
    assert link.cursors == [None, place(50)]
    reasons = [HoleReason.LOG_TRIMMED, HoleReason.LOG_RESTARTED]
    assert [hole.reason for hole in subscription.holes] == reasons


def test_an_unreadable_event_is_an_error():
    link = ScriptedLink([Position(place(9)), Entry(place(10), b'{"type": "other"}')])
    with pytest.raises(TransportError, match="unreadable event"):
        next(Subscription(link, wanted=EventFilter()))


@pytest.mark.parametrize(
    "url",
    ["", "cam", "ftp://host", "http://", "http://host:99999", "redis://host:port"],
)
def test_urls_that_can_not_be(url):
    with pytest.raises(ConfigError, match="events: expected"):
        subscribe(url)


def test_credentials_of_a_gateway_are_refused_and_not_repeated():
    with pytest.raises(ConfigError) as caught:
        subscribe("http://me:secret@host:1")
    assert "secret" not in str(caught.value)
