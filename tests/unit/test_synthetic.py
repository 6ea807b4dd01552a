from __future__ import annotations

import threading
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.clock import ClockSource
from streamer.core.errors import ConfigError, SourceError
from streamer.core.preprocess import Preprocess
from streamer.sources import synthetic
from streamer.sources.recording import record
from streamer.sources.synthetic import SyntheticSource, synthetic_source
from streamer.sources.workcell import ACTIONS, PHASES, Workcell, WorkcellScript
from streamer.sources.workcell.block import BLOCK_SECONDS, DURATIONS, WALK_MARGIN
from streamer.sources.workcell.script import KEPT_BLOCKS
from streamer.testing.clock import START_UTC_NS, ManualClock

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.sources.source import Source

NATIVE = Preprocess(width=320, height=240)


class WaitingClock(ManualClock):
    """Stands in for `threading.Event`, too: a wait lets exactly that much time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def event(self) -> threading.Event:
        outer = self

        class Waiting(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                assert timeout is not None
                outer.waited.append(timeout)
                outer.advance(timeout)
                return self.is_set()

        return Waiting()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WaitingClock:
    clock = WaitingClock()
    monkeypatch.setattr(synthetic, "Event", clock.event)
    return clock


def opened(clock: ManualClock, **options: object) -> SyntheticSource:
    source = SyntheticSource("workcell", clock=clock, **options)
    source.open()
    return source


# The script


@given(seed=st.integers(0, 2**32 - 1), until=st.floats(0.5, 400))
def test_truth_is_contiguous_and_says_what_the_lookups_say(seed: int, until: float) -> None:
    script = WorkcellScript(seed)
    truth = script.truth(until)
    phases = [segment for segment in truth if segment.kind == "phase"]
    assert phases[0].start_seconds == 0
    assert phases[-1].end_seconds == until
    for earlier, later in pairwise(phases):
        assert earlier.end_seconds == later.start_seconds
        assert earlier.label != later.label
    for segment in truth:
        assert 0 <= segment.start_seconds < segment.end_seconds <= until
        middle = (segment.start_seconds + segment.end_seconds) / 2
        just_before_end = np.nextafter(segment.end_seconds, 0)
        for seconds in (segment.start_seconds, middle, just_before_end):
            held = {script.phase_at(seconds), *script.actions_at(seconds)}
            assert segment.label in held
        if segment.kind == "action" and segment.end_seconds < until:
            assert segment.label not in script.actions_at(segment.end_seconds)


def test_actions_are_true_exactly_where_truth_says() -> None:
    script = WorkcellScript(5)
    actions = [segment for segment in script.truth(300) if segment.kind == "action"]
    for seconds in np.arange(0, 300, 0.17).tolist():
        expected = {s.label for s in actions if s.start_seconds <= seconds < s.end_seconds}
        assert script.actions_at(seconds) == expected


def test_every_label_occurs_and_durations_vary_within_their_range() -> None:
    truth = WorkcellScript(1).truth(1200)
    assert {s.label for s in truth} == {*PHASES, *ACTIONS}
    for phase, (shortest, longest) in DURATIONS.items():
        lengths = [s.end_seconds - s.start_seconds for s in truth[:-1] if s.label == phase]
        assert 0.7 * shortest < min(lengths) < max(lengths) < 1.3 * longest
        assert np.std(lengths) > 0.1 * (longest - shortest)


def test_cycles_skip_inspection_and_abort_sometimes() -> None:
    phases = [s.label for s in WorkcellScript(2).truth(1200) if s.kind == "phase"]
    follows = set(pairwise(phases))
    assert follows == {
        ("idle", "reach"),
        ("reach", "grasp"),
        ("grasp", "move"),
        ("grasp", "idle"),
        ("move", "place"),
        ("place", "inspect"),
        ("place", "idle"),
        ("inspect", "idle"),
    }


def test_seeds_differ_and_one_seed_does_not() -> None:
    assert WorkcellScript(3).truth(100) == WorkcellScript(3).truth(100)
    assert WorkcellScript(3).truth(100) != WorkcellScript(4).truth(100)


def test_a_script_forgets_the_past_and_can_still_be_asked_about_it() -> None:
    script = WorkcellScript(7)
    first = [script.phase_at(seconds) for seconds in range(100)]
    for number in range(200):
        script.actions_at(number * BLOCK_SECONDS + 1)
    assert len(script._blocks) == KEPT_BLOCKS
    assert [script.phase_at(seconds) for seconds in range(100)] == first


def test_a_time_before_the_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0 seconds, found -1"):
        WorkcellScript(0).phase_at(-1)


# The picture


def test_a_picture_depends_on_seed_and_time_alone() -> None:
    times = [0.0, 7.48, 3.2, 130.04, 3.24]
    one = Workcell(6, width=320, height=240)
    pictures = {seconds: one.render(seconds) for seconds in times}
    other = Workcell(6, width=320, height=240)
    for seconds in reversed(times):
        np.testing.assert_array_equal(other.render(seconds), pictures[seconds])
    assert pictures[0.0].shape == (240, 320, 3)
    assert pictures[0.0].dtype == np.uint8
    assert (pictures[3.2] != pictures[3.24]).mean() > 0.3, "the noise should differ by frame"
    assert (Workcell(8, width=320, height=240).render(0.0) != pictures[0.0]).mean() > 0.8


@pytest.mark.parametrize("seed", range(8))
def test_a_lit_lamp_and_the_ring_of_an_inspection_are_bright(seed: int) -> None:
    cell = Workcell(seed, width=320, height=240)
    view, layout = cell._view, cell.layout

    def brightness_during(label: str, *, at: tuple[float, float], reach: int) -> list[float]:
        """Mean grey level around a place of the scene, just before `label` begins and after."""
        segments = [s for s in cell.script.truth(120) if s.label == label]
        x = round(view.origin[0] + view.mirror * view.scale * at[0])
        y = round(view.origin[1] + view.scale * at[1])
        rows, columns = slice(y - reach, y + reach), slice(x - reach, x + reach)
        times = (segments[0].start_seconds - 0.05, segments[0].start_seconds + 0.05)
        return [float(cell.render(seconds)[rows, columns].mean()) for seconds in times]

    before, after = brightness_during("lamp_on", at=layout.lamp, reach=5)
    assert after > before + 40
    before, after = brightness_during("inspect", at=layout.place, reach=26)
    assert after > before + 20


@pytest.mark.parametrize(("width", "height"), [(320, 240), (640, 360)])
def test_whoever_passes_enters_and_leaves_by_the_edges(width: int, height: int) -> None:
    cell = Workcell(11, width=width, height=height)
    for walk in cell.script._block(0).walks:
        for seconds in (walk.span.start_seconds, walk.span.end_seconds):
            part = round(walk.part(seconds))
            left, right = cell._shaken(seconds).edges
            margin = WALK_MARGIN * (right - left)
            assert margin > 0.15, "wider than half a person, or they pop into the picture"
            assert part in (0, 1)
            assert walk.in_sight(seconds)
            assert cell.script.walk_at(seconds) is walk
        length = walk.span.end_seconds - walk.span.start_seconds
        unseen = walk.span.start_seconds - (WALK_MARGIN + 0.01) * length
        assert cell.script.walk_at(unseen) is None


@pytest.mark.parametrize(("width", "height"), [(640, 360), (240, 320), (33, 32)])
def test_any_size_is_rendered(width: int, height: int) -> None:
    cell = Workcell(1, width=width, height=height)
    for seconds in np.linspace(0, 40, 12).tolist():
        picture = cell.render(seconds)
        assert picture.shape == (height, width, 3)
        assert picture.std() > 10


# The source


def test_a_recording_yields_every_frame_at_once(clock: WaitingClock) -> None:
    source: Source = opened(clock, fps=10.0, seconds=2.05, realtime=False)
    assert not source.live
    assert not source.endless
    frames = list(source.frames())
    assert [frame.pts_seconds for frame in frames] == [n / 10 for n in range(21)]
    assert clock.waited == []
    last = frames[-1]
    assert last.clock is ClockSource.FILE
    assert last.captured_at_ns == START_UTC_NS + 2_000_000_000
    assert last.received_at_ns == START_UTC_NS
    assert last.received == clock.mark()


def test_a_camera_waits_for_each_frame(clock: WaitingClock) -> None:
    source = opened(clock, fps=8.0, seconds=0.5)
    assert source.live
    assert not source.endless
    frames = list(source.frames())
    assert [frame.pts_seconds for frame in frames] == [0, 0.125, 0.25, 0.375]
    assert clock.waited == [0.125, 0.125, 0.125, 0.125]
    for frame in frames:
        assert frame.clock is ClockSource.HOST
        assert frame.captured_at_ns == frame.received_at_ns
        assert frame.received_at_ns - START_UTC_NS == frame.received.ns == frame.pts_seconds * 1e9


def test_a_camera_skips_what_a_slow_reader_misses(clock: WaitingClock) -> None:
    source = opened(clock, fps=10.0)
    assert source.endless
    frames = source.frames()
    pts = []
    for frame in islice(frames, 4):
        pts.append(frame.pts_seconds)
        clock.advance(0.25)
    # At 0.25 s frame 2 is the newest; the next read, at 0.5 s, gets frame 5; and so on.
    assert pts == [0, 0.2, 0.5, 0.7]
    assert clock.waited == []
    # A reader that keeps up again misses nothing.
    assert [frame.pts_seconds for frame in islice(frames, 3)] == [1.0, 1.1, 1.2]


def test_a_slow_reader_does_not_prolong_a_camera(clock: WaitingClock) -> None:
    frames = opened(clock, fps=10.0, seconds=1.0).frames()
    assert next(frames).pts_seconds == 0
    clock.advance(1.5)
    assert list(frames) == []


def test_close_from_another_thread_ends_a_wait() -> None:
    clock = ManualClock()
    source = opened(clock, fps=0.001)
    frames = source.frames()
    next(frames)
    rest: list[object] = []
    reader = threading.Thread(target=lambda: rest.extend(frames), daemon=True)
    reader.start()
    source.close()
    source.close()
    reader.join(timeout=10)
    assert not reader.is_alive()
    assert rest == []


def test_frames_need_an_open_source_and_opening_again_begins_again(clock: WaitingClock) -> None:
    source = SyntheticSource("workcell", clock=clock)
    with pytest.raises(SourceError, match=r"expected open\(\)"):
        next(source.frames())
    source.open()
    clock.advance(3)
    first = next(source.frames())
    assert first.pts_seconds == 3.0
    source.close()
    source.open()
    assert next(source.frames()).pts_seconds == 0


def test_a_frame_is_the_rendered_picture_converted(clock: WaitingClock) -> None:
    source = opened(clock, seed=9, fps=5.0, realtime=False)
    frames = list(islice(source.frames(), 8))
    expected = Workcell(9, width=320, height=240).render(7 / 5)
    np.testing.assert_array_equal(frames[7].to_image(NATIVE), expected)
    small = Preprocess(width=224, height=224)
    image = frames[7].to_image(small)
    assert image.shape == small.shape
    frames[2].to_image(NATIVE)
    np.testing.assert_array_equal(frames[7].to_image(small), image)


# What a user types


def test_options_are_understood(clock: WaitingClock) -> None:
    options = {"seed": "3", "fps": "12.5", "width": "64", "height": "48", "seconds": "4"}
    source = synthetic_source("workcell", {**options, "realtime": "false"}, clock=clock)
    assert not source.live
    source.open()
    frames = list(source.frames())
    assert len(frames) == 50
    image = frames[49].to_image(Preprocess(width=64, height=48))
    np.testing.assert_array_equal(image, Workcell(3, width=64, height=48).render(49 / 12.5))
    assert synthetic_source("workcell", {"realtime": "TRUE"}, clock=clock).live


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kitchen", {}, "no such scene; expected one of: synthetic:workcell"),
        ("workcell", {"speed": "2"}, "unknown option 'speed'; expected one of: seed, fps"),
        ("workcell", {"fps": "0"}, "fps: expected above 0, at most 240, found 0"),
        ("workcell", {"fps": "-5"}, "fps: expected above 0, at most 240, found -5"),
        ("workcell", {"fps": "nan"}, "fps: expected above 0"),
        ("workcell", {"fps": "fast"}, "fps: expected a number, found 'fast'"),
        ("workcell", {"seed": "1.5"}, "seed: expected a whole number, found '1.5'"),
        ("workcell", {"seed": "-1"}, "seed: expected 0 to 4294967295, found -1"),
        ("workcell", {"width": "0"}, "width: expected 32 to 4096, found 0"),
        ("workcell", {"height": "9999"}, "height: expected 32 to 4096, found 9999"),
        ("workcell", {"seconds": "0"}, "seconds: expected above 0, found 0"),
        ("workcell", {"seconds": "inf"}, "seconds: expected above 0, found inf"),
        ("workcell", {"realtime": "maybe"}, "realtime: expected true or false, found 'maybe'"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^synthetic:{name}: {message}"):
        synthetic_source(name, options, clock=ManualClock())


# Recordings


def test_a_recording_shows_the_scene_with_its_times(tmp_path: Path) -> None:
    path = tmp_path / "cell.mp4"
    truth = record(path, seconds=3.0, seed=2, fps=10.0, width=160, height=120, gop=5)
    assert truth == WorkcellScript(2).truth(3.0)
    cell = Workcell(2, width=160, height=120)
    with av.open(path) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].average_rate == 10
    assert [frame.time for frame in frames] == pytest.approx([n / 10 for n in range(30)])
    assert [n for n, frame in enumerate(frames) if frame.key_frame] == [0, 5, 10, 15, 20, 25]
    for frame in frames[::7]:
        difference = frame.to_ndarray(format="rgb24").astype(int) - cell.render(frame.time)
        assert np.abs(difference).mean() < 8
        assert np.abs(difference.mean(axis=(0, 1))).max() < 3, "colours should not shift"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 161}, "even width and height, found 161x240"),
        ({"fps": 0}, "fps: expected above 0"),
        ({"codec": "aac"}, r"a video encoder of FFmpeg, found 'aac' \(audio\)"),
        ({"codec": "x"}, r"a video encoder of FFmpeg, found 'x' \(unknown\)"),
    ],
)
def test_what_cannot_be_recorded_is_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        record(tmp_path / "cell.mp4", seconds=1.0, **options)
    assert list(tmp_path.iterdir()) == []


# The manual clock


def test_a_manual_clock_moves_both_its_clocks_and_only_forwards() -> None:
    clock = ManualClock(utc_ns=5, domain="here")
    earlier = clock.mark()
    clock.advance(1.5)
    assert clock.utc_ns() == 1_500_000_005
    assert clock.mark().domain == "here"
    assert clock.mark().seconds_since(earlier, otherwise=earlier) == 1.5
    with pytest.raises(ValueError, match="at least 0 seconds"):
        clock.advance(-0.1)
