"""What people may see of a stream: its newest analysed frames, and previews while wanted."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.core.preprocess import Fit
from streamer.sources.jpeg import Shrinker

if TYPE_CHECKING:
    import av

    from streamer.core.frame import Frame, FrameStamp
    from streamer.core.preprocess import Preprocess
    from streamer.sources.source import DecodedFrame


@dataclass(frozen=True, slots=True)
class RecentFrame:
    """An analysed frame, as the encoder gets it, and the shape it was taken in.

    Attributes:
        frame: The frame.
        aspect: Width over height, as it is to be seen.
    """

    frame: Frame
    aspect: float


@dataclass(frozen=True, slots=True)
class Preview:
    """A small picture of an analysed frame."""

    stamp: FrameStamp
    picture: av.VideoFrame


class RecentPictures:
    """One stream's. Its camera's thread puts frames in; another finds them.

    The frames are those that went to the encoder, so that remembering them costs nothing but
    memory: a picture for people is only made of those that somebody asks for. A preview is made by
    the camera's thread, while it has the decoded frame, and only as often as one is wanted.

    Args:
        num_frames: How many are remembered.
        preprocess: How they were made.
        max_side: Of a preview, in pixels.
    """

    def __init__(self, *, num_frames: int, preprocess: Preprocess, max_side: int) -> None:
        self._frames: deque[RecentFrame] = deque(maxlen=num_frames)
        self._stretched = preprocess.fit is Fit.STRETCH
        self._shrinker = Shrinker(max_side=max_side)
        self._lock = threading.Lock()
        self._preview_fps = 0.0
        self._previewed_ns: int | None = None
        self._preview: Preview | None = None

    def take(self, frame: Frame, decoded: DecodedFrame) -> None:
        """Remember a frame. Of the camera's thread."""
        height, width, _ = frame.image.shape
        aspect = decoded.aspect if self._stretched else width / height
        with self._lock:
            self._frames.append(RecentFrame(frame, aspect))
        if self._is_preview_due(frame.stamp.ready.ns):
            self._previewed_ns = frame.stamp.ready.ns
            preview = Preview(frame.stamp, decoded.to_small(self._shrinker))
            with self._lock:
                self._preview = preview

    def find(self, *, epoch: int, seq: int) -> RecentFrame | None:
        """A frame, None if it is not remembered. From any thread."""
        with self._lock:
            for recent in reversed(self._frames):
                stamp = recent.frame.stamp
                if (stamp.epoch, stamp.seq) == (epoch, seq):
                    return recent
        return None

    def want_previews(self, fps: float) -> None:
        """Have so many made per second, from now on; 0: none. From any thread."""
        self._preview_fps = fps

    def next_preview(self) -> Preview | None:
        """The newest preview, once. From any thread."""
        with self._lock:
            preview, self._preview = self._preview, None
        return preview

    def _is_preview_due(self, now_ns: int) -> bool:
        fps = self._preview_fps
        if not fps:
            return False
        return self._previewed_ns is None or (now_ns - self._previewed_ns) * fps >= 1e9
