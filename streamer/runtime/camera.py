"""One camera's thread: open, drain, analyse, and open again when it breaks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from streamer.core.errors import ConfigError, SourceError, TransportError
from streamer.core.feature import StreamStatus
from streamer.runtime.portrait import Portrait
from streamer.sources.backoff import Backoff
from streamer.telemetry.records.frames import DropReason, FramesDropped
from streamer.telemetry.records.ingest import StatusChanged

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.core.clock import Clock, Mark
    from streamer.core.preprocess import Preprocess
    from streamer.runtime.pictures import RecentPictures
    from streamer.sources.source import Source
    from streamer.stages.ingest import IngestStage
    from streamer.telemetry.observer import Observer
    from streamer.telemetry.tracing import HeadSampler
    from streamer.transport.transport import FrameSender, StreamLog

_OVER = (StreamStatus.ENDED, StreamStatus.FAILED)
_FINAL = (*_OVER, StreamStatus.PAUSED)


class Camera:
    """Reads one source in a thread of its own until stopped or, for a file, until its end.

    The thread always drains: decoding goes on whatever the encoder does, and frames nobody
    fetched are overwritten. Only a recorded source waits.

    Args:
        open_source: Makes a source, not yet opened.
        stage: Numbers its frames.
        log: Where epochs begin.
        sender: Where frames go.
        preprocess: The encoder's input.
        clock: Time.
        observer: Is told of changes and drops.
        session: This ingest session.
        kind: Of its source; see `kind_of`.
        pictures: Is shown every analysed frame, for people; None if nobody is to see any.
        sampler: Chooses frames to trace; None: none is.
    """

    def __init__(
        self,
        *,
        open_source: Callable[[], Source],
        stage: IngestStage,
        log: StreamLog,
        sender: FrameSender,
        preprocess: Preprocess,
        clock: Clock,
        observer: Observer,
        session: str,
        kind: str = "",
        pictures: RecentPictures | None = None,
        sampler: HeadSampler | None = None,
    ) -> None:
        self._open_source = open_source
        self._stage = stage
        self._log = log
        self._sender = sender
        self._preprocess = preprocess
        self._clock = clock
        self._logger = structlog.get_logger()
        self._observer = observer
        self._session = session
        self._pictures = pictures
        self._sampler = sampler
        self._portrait = Portrait(stage.stream_id, kind=kind, observer=observer)
        self._status: StreamStatus | None = None
        self._reason = ""
        self._backoff = Backoff()
        self._stop = threading.Event()
        self._abandoned = threading.Event()
        self._last_word: StreamStatus | None = None
        self._opened = False
        self._source: Source | None = None
        self._recorded = False
        self._live_since: Mark | None = None
        # A daemon: a thread inside a blocked read must not keep the process alive.
        self._thread = threading.Thread(
            target=self._run, name=f"camera-{stage.stream_id}", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def session(self) -> str:
        """In whose name it sends."""
        return self._session

    @property
    def epoch(self) -> int:
        """The current opening of its source."""
        return self._stage.epoch

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and position of what came last: a successor goes on from there."""
        return self._stage.epoch, self._stage.last_us

    @property
    def running(self) -> bool:
        """False once the source has ended for good."""
        return self._thread.is_alive()

    @property
    def recorded(self) -> bool:
        """Whether its source can't be taken up in the middle: a file."""
        return self._recorded

    @property
    def finished(self) -> bool:
        """Whether the source was read to its end, and nobody asked to stop."""
        over = not self.running and self._status is StreamStatus.ENDED
        return over and not self._stop.is_set()

    @property
    def failed(self) -> bool:
        """Whether it gave up on its source for good."""
        return not self.running and not self.abandoned and self._status is StreamStatus.FAILED

    @property
    def said_its_end(self) -> bool:
        """Whether the last word about the stream has been said, for whatever reason."""
        return not self.running and not self.abandoned and self._status in _FINAL

    def has_said(self, last_word: StreamStatus) -> bool:
        """Whether it has ended with that word, or with another that will do."""
        asked = self._last_word is last_word
        return asked or (last_word is StreamStatus.ENDED and self._status in _OVER)

    @property
    def abandoned(self) -> bool:
        """Whether it ended, or ends, because the stream is another worker's."""
        return self._abandoned.is_set()

    def abandon(self) -> None:
        """Ask it to end without a word: the stream is another worker's."""
        self._abandoned.set()
        self.stop()

    def end(self, last_word: StreamStatus) -> None:
        """Ask it to end, and to say so, even if it never began here. No use once it is over.

        Args:
            last_word: `ENDED` if the stream was removed, `PAUSED` if it was paused.
        """
        if self.running or not self._thread.ident:
            self._last_word = last_word
            self.stop()

    def stop(self) -> None:
        """Ask it to end. Returns at once."""
        self._stop.set()
        source = self._source
        if source is not None and not source.live:
            return  # it ends at the next frame
        if source is not None:
            source.close()

    def join(self, *, timeout_seconds: float) -> bool:
        """Wait for its end. False if it is still inside a blocked read."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._open_again_and_again()
        except Exception as error:  # the thread's last line: a camera must not vanish silently
            self._logger.exception("camera failed", stream=self._stage.stream_id)
            self._change(StreamStatus.FAILED, "internal", f"{type(error).__name__}: {error}")
        if self._stop.is_set() and not self._abandoned.is_set() and self._status not in _FINAL:
            self._say_the_end()

    def _say_the_end(self) -> None:
        """What is open downstream gets its end; if it was asked for even if another began it."""
        while self._last_word and not self._opened and not self._abandoned.is_set():
            try:
                self._open_epoch()
            except TransportError as error:
                if not error.retryable:
                    raise
                self._abandoned.wait(self._backoff.next_seconds(ran_seconds=0.0))
        if not self._abandoned.is_set():
            paused = self._last_word is StreamStatus.PAUSED
            self._change(StreamStatus.PAUSED if paused else StreamStatus.ENDED, "stopped", "")

    def _open_again_and_again(self) -> None:
        fresh = False  # an epoch has begun and has no frame yet
        while not self._stop.is_set():
            try:
                if not fresh:
                    if not self._open_epoch():
                        return
                    fresh = True
                fresh = not self._play()
            except SourceError as error:
                fresh = fresh and self._status is not StreamStatus.LIVE
                if self._stop.is_set():
                    return
                status = StreamStatus.RECONNECTING if error.retryable else StreamStatus.FAILED
                self._change(status, error.reason, str(error))
                if not error.retryable:
                    return
                self._stop.wait(self._backoff.next_seconds(ran_seconds=self._ran_seconds()))
            except ConfigError as error:
                # Its credentials are not where it says: no retry finds them.
                self._change(StreamStatus.FAILED, "misconfigured", str(error))
                return
            except TransportError as error:
                if not error.retryable:
                    self._change(StreamStatus.FAILED, "transport", str(error))
                    return
                # Redis is away; the worker's loop reports it. Try again shortly.
                self._stop.wait(self._backoff.next_seconds(ran_seconds=self._ran_seconds()))
            else:
                if self._status is StreamStatus.ENDED:
                    return

    def _open_epoch(self) -> bool:
        """Begin a new epoch. False, and abandoned, if the stream is another worker's by now."""
        stream_id = self._stage.stream_id
        opened = self._log.open_source(
            stream_id, session=self._session, at_least_epoch=self._stage.epoch + 1
        )
        if opened is None:
            self._abandoned.set()
            return False
        if opened.abandoned:
            self._observer.observe(FramesDropped(stream_id, DropReason.ABANDONED, opened.abandoned))
        self._stage.begin_epoch(epoch=opened.epoch, last_us=opened.last_us)
        self._opened = True
        return True

    def _play(self) -> bool:
        """Open the source and read it to its end. Returns whether it gave any frame."""
        source = self._source = self._open_source()
        self._recorded = not source.endless
        self._live_since = None
        if self._status is None:
            self._change(StreamStatus.CONNECTING, "", "")
        played = False
        try:
            source.open()
            for decoded in source.frames():
                if self._stop.is_set():
                    return played
                if not played:
                    played = True
                    self._live_since = self._clock.mark()
                    self._change(StreamStatus.LIVE, "", "")
                if not self._stage.takes(decoded):
                    continue
                image = decoded.to_image(self._preprocess)
                ready = self._clock.mark()
                frame = self._stage.frame(decoded, image, ready=ready)
                if self._sampler is not None:
                    frame = self._sampler.mark(frame)
                if not self._sender.send(frame, wait=not source.live):
                    self._observer.observe(
                        FramesDropped(self._stage.stream_id, DropReason.SEND_FULL, 1)
                    )
                # After the frame is on its way.
                self._portrait.look(decoded, now=ready)
                if self._pictures is not None:
                    self._pictures.take(frame, decoded)
        finally:
            self._source = None
            source.close()
        if self._stop.is_set():
            return played
        if not source.endless:
            self._change(StreamStatus.ENDED, "end_of_file", "")
        elif not played:
            raise SourceError("it ended without a frame", retryable=True, reason="ended")
        return played

    def _ran_seconds(self) -> float:
        now = self._clock.mark()
        return now.seconds_since(self._live_since, otherwise=now) if self._live_since else 0.0

    def _change(self, status: StreamStatus, reason: str, detail: str) -> None:
        if (status, reason) == (self._status, self._reason):
            return  # the same again: not a change
        self._status, self._reason = status, reason
        note = self._stage.note(
            status,
            reason=reason,
            detail=detail,
            now_ns=self._clock.utc_ns(),
            ready=self._clock.mark(),
        )
        self._sender.note(note)
        self._observer.observe(StatusChanged(note))
