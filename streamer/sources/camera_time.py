"""When a camera says that it took a picture."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

_WALLCLOCK = struct.Struct("=q")
"""The first field of FFmpeg's `AVProducerReferenceTime`: UTC microseconds since 1970."""


def camera_time_ns(packet: av.Packet[VideoStream]) -> int | None:
    """The time of an RTSP camera's packet by the camera's own clock, in UTC nanoseconds.

    FFmpeg counts from the newest RTCP sender report (RFC 3550, 6.4.1), which names one moment both
    in NTP's time and in the stream's; so it follows a clock that is set or drifts while the camera
    is connected. `start_time_realtime` of the container does not: it is that of the first report.
    At the packet at which a report arrives it may be the time of the next picture.

    Whatever the camera's clock shows is returned, also nonsense. NTP's seconds are taken to count
    from 1900, so that those of cameras past 2036-02-07 begin again there.

    Returns:
        None before the first report, and of cameras that send none.
    """
    if not packet.has_sidedata("prft"):
        return None
    (wallclock_us,) = _WALLCLOCK.unpack_from(packet.get_sidedata("prft"))
    return int(wallclock_us) * 1000
