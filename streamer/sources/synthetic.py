"""Rendered cameras: `synthetic:NAME`. For the demo, tests and training; the truth is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import av

from streamer.core.clock import ClockSource
from streamer.core.errors import ConfigError, SourceError
from streamer.sources.convert import Converter
from streamer.sources.workcell import Workcell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from streamer.core.clock import Clock, Mark
    from streamer.core.frame import Image
    from streamer.core.preprocess import Preprocess
    from streamer.sources.jpeg import Shrinker

SCENES: Mapping[str, type[Workcell]] = {"workcell": Workcell}
"""The scenes by name."""
MAX_SEED = 2**32 - 1
MAX_FPS = 240.0
MIN_SIZE, MAX_SIZE = 32, 4096


class SyntheticSource:
    """A camera, or a recording, of a rendered scene.

    Frame n of an opening shows the scene at n / fps seconds, and the same seed, size and time
    always give the same pixels. Opening it again begins at 0 again.

    Delivery: as a live camera (`realtime`), a frame comes when it is due by `clock`, and those
    the reader was too slow for are skipped, all but the newest. As a recording, every frame comes
    at once.

    Args:
        name: A key of `SCENES`.
        seed: 0 to `MAX_SEED`; decides what the scene looks like and what happens in it.
        fps: Frames per second, above 0.
        width: Pixels.
        height: Pixels.
        seconds: Where it ends; None for never.
        realtime: Live camera or recording.
        clock: Paces a live camera and says when frames are captured.

    Raises:
        ConfigError: One of them can't be.
    """

    def __init__(
        self,
        name: str,
        *,
        seed: int = 0,
        fps: float = 25.0,
        width: int = 320,
        height: int = 240,
        seconds: float | None = None,
        realtime: bool = True,
        clock: Clock,
    ) -> None:
        scene = check_scene(name, seed=seed, fps=fps, width=width, height=height, seconds=seconds)
        self.scene = scene(seed, width=width, height=height)
        self.fps = fps
        self.size = (width, height)
        self._num_frames = None if seconds is None else num_frames(seconds, fps=fps)
        self._realtime = realtime
        self._clock = clock
        self._opened: tuple[int, Mark] | None = None
        self._closed = Event()
        self._converter: Converter | None = None
        self._rendered: tuple[float, av.VideoFrame] | None = None

    @property
    def aspect(self) -> float:
        """Width over height of its pictures."""
        width, height = self.size
        return width / height

    @property
    def live(self) -> bool:
        """Whether it is paced, and skips what nobody reads."""
        return self._realtime

    @property
    def endless(self) -> bool:
        """Whether it has no end of its own."""
        return self._num_frames is None

    def open(self) -> None:
        """Begin at 0. Can't fail."""
        self._closed = Event()
        self._opened = (self._clock.utc_ns(), self._clock.mark())

    def frames(self) -> Iterator[SyntheticFrame]:
        """The frames of this opening until its end, or until `close` from whichever thread.

        Raises:
            SourceError: It is not open.
        """
        if self._opened is None:
            raise SourceError(
                "synthetic source: expected open() before frames(), found it closed",
                retryable=False,
                reason="not_open",
            )
        (opened_utc_ns, opened), closed = self._opened, self._closed
        index = 0
        while not closed.is_set():
            if self._realtime:
                index = self._await_due(index, opened=opened, closed=closed)
            if closed.is_set() or (self._num_frames is not None and index >= self._num_frames):
                return
            yield self._frame(index, opened_utc_ns=opened_utc_ns)
            index += 1

    def close(self) -> None:
        """End `frames`, also while it waits. Idempotent."""
        self._opened = None
        self._closed.set()

    def picture(self, seconds: float, *, preprocess: Preprocess) -> Image:
        """The scene at a time, as an encoder's input: uint8 RGB of `preprocess.shape`."""
        if self._converter is None or self._converter.preprocess != preprocess:
            self._converter = Converter(preprocess)
        return self._converter.convert(self.rendered(seconds))

    def rendered(self, seconds: float) -> av.VideoFrame:
        """The scene at a time. The last one is kept: it may be wanted twice."""
        if self._rendered is None or self._rendered[0] != seconds:
            pixels = self.scene.render(seconds)
            self._rendered = seconds, av.VideoFrame.from_ndarray(pixels, format="rgb24")
        return self._rendered[1]

    def _await_due(self, index: int, *, opened: Mark, closed: Event) -> int:
        """Wait until frame `index` is due; returns it, or a later one if that is due as well."""
        due_ns = round(index * 1e9 / self.fps)
        while (elapsed_ns := self._clock.mark().ns - opened.ns) < due_ns:
            if closed.wait((due_ns - elapsed_ns) * 1e-9):
                break
        return max(index, int(elapsed_ns * 1e-9 * self.fps))

    def _frame(self, index: int, *, opened_utc_ns: int) -> SyntheticFrame:
        pts_seconds = index / self.fps
        now_ns = self._clock.utc_ns()
        return SyntheticFrame(
            pts_seconds=pts_seconds,
            captured_at_ns=now_ns if self._realtime else opened_utc_ns + round(pts_seconds * 1e9),
            received_at_ns=now_ns,
            received=self._clock.mark(),
            clock=ClockSource.HOST if self._realtime else ClockSource.FILE,
            camera_at_ns=None,
            source=self,
        )


# Not frozen: the protocol `DecodedFrame` has plain attributes.
@dataclass(slots=True, kw_only=True, eq=False)
class SyntheticFrame:
    """A frame that is rendered when its picture is asked for. See `DecodedFrame`."""

    pts_seconds: float
    captured_at_ns: int
    received_at_ns: int
    received: Mark
    clock: ClockSource
    camera_at_ns: int | None
    source: SyntheticSource

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.source.size

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.source.aspect

    def to_small(self, shrinker: Shrinker) -> av.VideoFrame:
        """Render and shrink. Only the thread that reads the source may call it."""
        picture = self.source.rendered(self.pts_seconds)
        return shrinker.shrink(picture, aspect=self.aspect)

    def to_image(self, preprocess: Preprocess) -> Image:
        """Render and convert. Only the thread that reads the source may call it."""
        return self.source.picture(self.pts_seconds, preprocess=preprocess)


def synthetic_source(name: str, options: Mapping[str, str], *, clock: Clock) -> SyntheticSource:
    """The source that `synthetic:NAME?KEY=VALUE&…` stands for.

    Args:
        name: A key of `SCENES`.
        options: Any of `seed`, `fps`, `width`, `height`, `seconds`, `realtime`, as typed.
        clock: See `SyntheticSource`.

    Raises:
        ConfigError: Unknown name or option, or a value that can't be.
    """
    parsed: dict[str, int | float | bool] = {}
    for key, text in options.items():
        if key not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise ConfigError(f"synthetic:{name}: unknown option {key!r}; expected one of: {known}")
        kind, parse = _OPTIONS[key]
        try:
            parsed[key] = parse(text)
        except ValueError:
            raise ConfigError(f"synthetic:{name}: {key}: expected {kind}, found {text!r}") from None
    return SyntheticSource(name, clock=clock, **parsed)  # type: ignore[arg-type]


def check_scene(
    name: str, *, seed: int, fps: float, width: int, height: int, seconds: float | None
) -> type[Workcell]:
    """The scene of that name, if it can be rendered so.

    Raises:
        ConfigError: No such scene, or a number out of its range.
    """
    if name not in SCENES:
        known = ", ".join(f"synthetic:{scene}" for scene in SCENES)
        raise ConfigError(f"synthetic:{name}: no such scene; expected one of: {known}")
    checks = (
        ("seed", f"0 to {MAX_SEED}", seed, 0 <= seed <= MAX_SEED),
        ("fps", f"above 0, at most {MAX_FPS:g}", fps, 0 < fps <= MAX_FPS),
        ("width", f"{MIN_SIZE} to {MAX_SIZE}", width, MIN_SIZE <= width <= MAX_SIZE),
        ("height", f"{MIN_SIZE} to {MAX_SIZE}", height, MIN_SIZE <= height <= MAX_SIZE),
        ("seconds", "above 0", seconds, seconds is None or 0 < seconds < math.inf),
    )
    for key, expected, found, fits in checks:
        if not fits:
            raise ConfigError(f"synthetic:{name}: {key}: expected {expected}, found {found}")
    return SCENES[name]


def num_frames(seconds: float, *, fps: float) -> int:
    """How many frames begin before `seconds`. At least 1."""
    return max(1, math.ceil(round(seconds * fps, 6)))


def _parse_bool(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


_OPTIONS: Mapping[str, tuple[str, Callable[[str], int | float | bool]]] = {
    "seed": ("a whole number", int),
    "fps": ("a number", float),
    "width": ("a whole number", int),
    "height": ("a whole number", int),
    "seconds": ("a number", float),
    "realtime": ("true or false", _parse_bool),
}
