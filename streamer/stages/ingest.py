"""From decoded frames to analysed ones: numbering, stamping, and notes about the camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.feature import StatusNote
from streamer.core.frame import Frame, FrameStamp
from streamer.sources.sampler import Sampler

if TYPE_CHECKING:
    from streamer.core.clock import Mark
    from streamer.core.feature import StreamStatus
    from streamer.core.frame import Image
    from streamer.sources.source import DecodedFrame


class IngestStage:
    """Numbers one stream's frames and notes. Keeps their positions strictly increasing.

    Args:
        stream_id: The camera.
        session: This ingest session.
        analysis_fps: Frames per second to analyse.
        last_epoch: The last one known: new ones come after it.
        last_us: The last position known: the log may have forgotten it.
    """

    def __init__(
        self,
        stream_id: str,
        *,
        session: str,
        analysis_fps: float,
        last_epoch: int = 0,
        last_us: int = 0,
    ) -> None:
        self.stream_id = stream_id
        self._session = session
        self._analysis_fps = analysis_fps
        self._epoch = 0
        self._last_us = 0
        self._begin(epoch=last_epoch, last_us=last_us)

    @property
    def epoch(self) -> int:
        """The current one."""
        return self._epoch

    @property
    def last_us(self) -> int:
        """Position of the last frame or note."""
        return self._last_us

    def begin_epoch(self, *, epoch: int, last_us: int) -> None:
        """The source is about to be opened anew.

        Args:
            epoch: Its number; raised if the log has forgotten later ones.
            last_us: Position of the last entry in the stream's input log.
        """
        self._begin(epoch=max(epoch, self._epoch + 1), last_us=last_us)

    def takes(self, decoded: DecodedFrame) -> bool:
        """Whether this frame is to be analysed."""
        return self._sampler.take(decoded.pts_seconds)

    def frame(self, decoded: DecodedFrame, image: Image, *, ready: Mark) -> Frame:
        """The next analysed frame.

        Args:
            decoded: Where it comes from.
            image: Its pixels in the encoder's input size.
            ready: When they were ready.
        """
        stamp = FrameStamp(
            stream_id=self.stream_id,
            session=self._session,
            epoch=self._epoch,
            seq=self._next_seq,
            entry_us=self._position(decoded.captured_at_ns),
            pts_seconds=decoded.pts_seconds,
            captured_at_ns=decoded.captured_at_ns,
            received_at_ns=decoded.received_at_ns,
            clock=decoded.clock,
            decode_seconds=ready.seconds_since(decoded.received, otherwise=ready),
            ready=ready,
        )
        self._next_seq += 1
        return Frame(stamp, image)

    def note(
        self, status: StreamStatus, *, reason: str, detail: str, now_ns: int, ready: Mark
    ) -> StatusNote:
        """A note about the camera, placed after the frames so far."""
        note = StatusNote(
            stream_id=self.stream_id,
            session=self._session,
            epoch=self._epoch,
            note_seq=self._next_note,
            entry_us=self._position(now_ns),
            status=status,
            reason=reason,
            detail=detail,
            noted_at_ns=now_ns,
            ready=ready,
        )
        self._next_note += 1
        return note

    def _begin(self, *, epoch: int, last_us: int) -> None:
        self._epoch = epoch
        self._last_us = max(self._last_us, last_us)
        self._next_seq = 0
        self._next_note = 0
        self._sampler = Sampler(self._analysis_fps)

    def _position(self, at_ns: int) -> int:
        self._last_us = max(at_ns // 1000, self._last_us + 1)
        return self._last_us
