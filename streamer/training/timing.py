"""When the frames of a video file are: from its packets, without decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MAX_JITTER_RATIO = 0.5
"""A distance this far from the usual one, relative to it, is of another rate: containers round."""
MAX_ODD_RATIO = 0.01
"""So many odd distances are still a constant rate: a dropped frame now and then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTiming:
    """What the timestamps of a file say.

    Attributes:
        num_frames: Packets of video with a time.
        duration_seconds: From the first frame until the end of the last.
        fps: Frames per second of the usual distance between two.
        longest_pause_seconds: Between two frames.
        odd_ratio: Part of the distances that are not the usual one.
    """

    num_frames: int
    duration_seconds: float
    fps: float
    longest_pause_seconds: float
    odd_ratio: float

    @property
    def is_variable(self) -> bool:
        """Whether counting frames does not tell the time."""
        return self.odd_ratio > MAX_ODD_RATIO


def read_timing(path: Path) -> VideoTiming:
    """Timing of a video file.

    Raises:
        ConfigError: It is not there, is no video, or has fewer than two frames with a time.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: expected a video file, found none")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ConfigError(f"{path}: expected a picture in it, found none")
            stream = container.streams.video[0]
            base = float(stream.time_base or 0)
            stamps = [_stamp(packet) for packet in container.demux(stream)]
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: can't read the video ({reason})") from error
    known = [stamp for stamp in stamps if stamp is not None]
    times = np.unique(np.array(known, np.int64)) * base
    if len(times) < 2 or base <= 0:
        raise ConfigError(
            f"{path}: expected frames with timestamps, found {len(times)}; re-encode it: "
            "ffmpeg -i IN -fps_mode cfr -c:v libx264 OUT.mp4"
        )
    distances = np.diff(times)
    usual = float(np.median(distances))
    odd = np.abs(distances - usual) > MAX_JITTER_RATIO * usual
    return VideoTiming(
        num_frames=len(times),
        duration_seconds=float(times[-1] - times[0]) + usual,
        fps=1 / float(distances[~odd].mean()),  # containers round to 1 ms both ways
        longest_pause_seconds=float(distances.max()),
        odd_ratio=float(odd.mean()),
    )


def _stamp(packet: av.Packet[Any]) -> int | None:
    """When its frame is, in units of the stream; AVI says only when it is decoded."""
    return packet.dts if packet.pts is None else packet.pts
