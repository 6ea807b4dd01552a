"""The contract of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av

    from streamer.core.clock import ClockSource, Mark
    from streamer.core.frame import Image
    from streamer.core.preprocess import Preprocess
    from streamer.sources.jpeg import Shrinker


class DecodedFrame(Protocol):
    """A decoded frame, not yet converted: conversion is paid only for frames that are analysed.

    Read-only, so that frozen types fit.
    """

    @property
    def pts_seconds(self) -> float:
        """Presentation time since the source was opened, from 0, strictly increasing."""
        ...

    @property
    def captured_at_ns(self) -> int:
        """UTC nanoseconds, by `clock`."""
        ...

    @property
    def received_at_ns(self) -> int:
        """UTC nanoseconds when the frame's last packet was here."""
        ...

    @property
    def received(self) -> Mark:
        """The same moment on the monotonic clock."""
        ...

    @property
    def clock(self) -> ClockSource:
        """What `captured_at_ns` is taken from."""
        ...

    @property
    def camera_at_ns(self) -> int | None:
        """UTC nanoseconds by the camera's own clock, right or wrong; None if it does not say."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the source has them."""
        ...

    @property
    def aspect(self) -> float:
        """Width over height, as the picture is to be seen: pixels need not be square."""
        ...

    def to_small(self, shrinker: Shrinker) -> av.VideoFrame:
        """A small picture for people. Only the thread that reads the source may call it."""
        ...

    def to_image(self, preprocess: Preprocess) -> Image:
        """The picture as uint8 RGB of `preprocess.shape`. Valid for as long as the caller likes."""
        ...


class Source(Protocol):
    """One camera or file. Used by one thread.

    Delivery: a live source delivers what it receives, in order, and never waits for its reader
    on purpose; a recorded one delivers every frame once per opening, as fast as it is read.
    """

    @property
    def live(self) -> bool:
        """Whether frames are lost if nobody reads: then the newest wins. A file waits instead."""
        ...

    @property
    def endless(self) -> bool:
        """Whether the end of the frames is a fault, to be followed by a new opening."""
        ...

    def open(self) -> None:
        """Open it, within the source's own deadline.

        Raises:
            SourceError: It can't be opened; `retryable` says whether trying again makes sense.
        """
        ...

    def frames(self) -> Iterator[DecodedFrame]:
        """Every decoded frame until the source ends.

        Raises:
            SourceError: It broke, or no frame came within the deadline.
        """
        ...

    def close(self) -> None:
        """Let go of the device or connection. Idempotent."""
        ...
