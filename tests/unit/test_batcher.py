from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.runtime.batcher import Batcher


def test_a_batch_is_due_when_full_or_when_the_oldest_has_waited():
    batcher: Batcher[int] = Batcher(max_size=2, max_wait_seconds=0.010)
    assert batcher.due_in_seconds(now_ns=0) is None
    batcher.add("a", 1, now_ns=0)
    assert batcher.due_in_seconds(now_ns=0) == 0.010
    assert batcher.due_in_seconds(now_ns=4_000_000) == 0.006
    assert batcher.due_in_seconds(now_ns=50_000_000) == 0.0
    batcher.add("b", 2, now_ns=0)
    assert batcher.due_in_seconds(now_ns=0) == 0.0


def test_without_a_wait_a_batch_is_due_at_once():
    batcher: Batcher[int] = Batcher(max_size=4, max_wait_seconds=0)
    batcher.add("a", 1, now_ns=5)
    assert batcher.due_in_seconds(now_ns=5) == 0.0


def test_a_busy_camera_delays_no_other():
    batcher: Batcher[str] = Batcher(max_size=4, max_wait_seconds=0)
    for n in range(20):
        batcher.add("busy", f"busy{n}", now_ns=0)
    for stream_id in "abc":
        batcher.add(stream_id, stream_id, now_ns=0)
    assert batcher.take() == ["busy0", "a", "b", "c"]


def test_under_overload_each_camera_gets_the_same_share():
    batcher: Batcher[str] = Batcher(max_size=4, max_wait_seconds=0)
    for stream_id in "abcdef":
        for _ in range(20):
            batcher.add(stream_id, stream_id, now_ns=0)
    served = [item for _ in range(6) for item in batcher.take()]
    assert len(served) == 24
    assert {stream_id: served.count(stream_id) for stream_id in "abcdef"} == dict.fromkeys(
        "abcdef", 4
    )


@given(
    st.lists(st.sampled_from("abcde"), max_size=60),
    st.integers(1, 7),
)
def test_everything_comes_out_once_and_in_order(streams, max_size):
    batcher: Batcher[tuple[str, int]] = Batcher(max_size=max_size, max_wait_seconds=0)
    added: dict[str, list[int]] = {}
    for number, stream_id in enumerate(streams):
        batcher.add(stream_id, (stream_id, number), now_ns=number)
        added.setdefault(stream_id, []).append(number)
    taken: dict[str, list[int]] = {}
    while len(batcher):
        batch = batcher.take()
        assert 1 <= len(batch) <= max_size
        for stream_id, number in batch:
            taken.setdefault(stream_id, []).append(number)
    assert taken == added
    assert batcher.due_in_seconds(now_ns=0) is None


def test_the_oldest_droppable_items_make_way():
    batcher: Batcher[str] = Batcher(max_size=8, max_wait_seconds=0)
    for item in ("frame1", "note", "frame2", "frame3"):
        batcher.add("a", item, now_ns=0)
    batcher.add("b", "frame9", now_ns=0)
    dropped = batcher.drop_oldest("a", keep=1, droppable=lambda item: item.startswith("frame"))
    assert dropped == ["frame1", "frame2"]
    assert [batcher.take() for _ in range(3)] == [["note"], ["frame9"], ["frame3"]]
    assert batcher.drop_oldest("gone", keep=0, droppable=bool) == []


def test_a_stream_of_which_all_is_dropped_takes_no_turn():
    batcher: Batcher[str] = Batcher(max_size=8, max_wait_seconds=0)
    batcher.add("a", "frame1", now_ns=0)
    assert batcher.drop_oldest("a", keep=0, droppable=bool) == ["frame1"]
    assert len(batcher) == 0
    assert batcher.take() == []
    batcher.add("a", "frame2", now_ns=0)
    assert batcher.take() == ["frame2"]


def test_without_a_wait_items_come_one_by_one_until_more_than_a_batch_waits():
    batcher: Batcher[int] = Batcher(max_size=4, max_wait_seconds=0)
    for number in range(6):
        batcher.add(f"s{number}", number, now_ns=0)
    assert [batcher.take() for _ in range(3)] == [[0, 1, 2, 3], [4], [5]]


def test_with_a_wait_items_come_in_batches():
    batcher: Batcher[int] = Batcher(max_size=4, max_wait_seconds=0.01)
    for number in range(3):
        batcher.add(f"s{number}", number, now_ns=0)
    assert batcher.take() == [0, 1, 2]
