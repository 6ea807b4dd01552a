"""All stages in one process: `for event in Pipeline("clip.mp4"): ...`."""

from __future__ import annotations

import os
import secrets
from functools import partial
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np

from streamer.core.errors import ModelError, SourceError
from streamer.core.feature import StatusNote, StreamStatus
from streamer.core.frame import FrameBatch
from streamer.models.bundle import Bundle
from streamer.models.encoders.registry import open_encoder
from streamer.models.temporal.registry import open_online_model
from streamer.runtime.camera import Camera
from streamer.runtime.clock import SystemClock
from streamer.sources.credentials import resolve_credentials
from streamer.sources.grammar import expand_sources, open_source
from streamer.stages.encode import assemble_chunks
from streamer.stages.ingest import IngestStage
from streamer.stages.temporal import TemporalStage
from streamer.telemetry.observer import Observers
from streamer.transport.codec import encode_input
from streamer.transport.memory import MemoryFramePath, MemoryStreamLog
from streamer.transport.transport import LogEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from streamer.core.clock import Clock
    from streamer.core.event import Event
    from streamer.core.feature import InputEntry
    from streamer.sources.grammar import SourceSpec
    from streamer.sources.source import Source
    from streamer.telemetry.observer import Observer
    from streamer.transport.transport import FrameHandle

RECEIVE_SECONDS = 0.25
NUM_SLOTS = 4
"""Frames of one source between its thread and the models."""


class Pipeline:
    """Watches sources in this process and yields their events.

    A file gives the same events, labels, times and confidences at every run: nothing is dropped,
    and no frame's result depends on its batchmates. A live camera is read by a thread that always
    drains, and frames that can't be analysed in time are dropped, stated as gaps.

    Args:
        *sources: What `streamer run` takes: files, URLs, devices, `synthetic:NAME`.
        bundle: A shipped bundle's name, or a folder.
        encoder: Overrides the bundle's encoder, which must then have the same digest.
        analysis_fps: Overrides the bundle's.
        device: Where the encoder runs.
        clock: Time; tests pass a manual one.
        observer: Is told what happens, for example a `PrometheusObserver`.

    Raises:
        ConfigError: A source or the bundle is not what it should be.
        ModelError: Bundle and encoder do not fit, or a file of theirs is damaged.
    """

    def __init__(
        self,
        *sources: str,
        bundle: str | Path = "workcell",
        encoder: str | None = None,
        analysis_fps: float | None = None,
        device: str | None = None,
        clock: Clock | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._vault: dict[str, str] = {}
        specs = expand_sources(sources, vault=self._vault)
        self._bundle = Bundle.load(bundle)
        config = self._bundle.config
        self._encoder = open_encoder(
            encoder or config.encoder, preprocess=self._bundle.preprocess, device=device
        )
        if self._encoder.encoder_id != config.encoder_id:
            raise ModelError(
                f"bundle {config.name} expects encoder {config.encoder} ({config.encoder_id}), "
                f"found {self._encoder.name} ({self._encoder.encoder_id})"
            )
        model = open_online_model(self._bundle)
        self._model = model
        self._stage = TemporalStage(self._bundle, model)
        self._clock = clock or SystemClock()
        self._path = MemoryFramePath(num_slots=NUM_SLOTS)
        self._checkpoints = {
            spec.stream_id: self._stage.initial(spec.stream_id, row=index % model.rows)
            # In the order in which `streamer run` numbers them: rows decide bits.
            for index, spec in enumerate(specs)
        }
        log, session = MemoryStreamLog(), secrets.token_hex(8)
        self._cameras = [
            Camera(
                open_source=partial(self._open, spec),
                stage=IngestStage(
                    spec.stream_id,
                    session=session,
                    analysis_fps=analysis_fps or config.analysis_fps,
                ),
                log=log,
                sender=self._path,
                preprocess=self._bundle.preprocess,
                clock=self._clock,
                observer=observer or Observers(),
                session=session,
            )
            for spec in specs
        ]
        self._closed = False

    def __iter__(self) -> Iterator[Event]:
        """Run until every source has ended. Once only.

        Raises:
            SourceError: A source failed and no other is left.
        """
        running = set(self._checkpoints)
        failures: list[StatusNote] = []
        for camera in self._cameras:
            camera.start()
        try:
            while running and not self._closed:
                for entry in self._encode(self._path.receive(timeout_seconds=RECEIVE_SECONDS)):
                    yield from self._advance(entry)
                    if isinstance(entry, StatusNote):
                        if entry.status is StreamStatus.FAILED:
                            failures.append(entry)
                        if entry.status in (StreamStatus.ENDED, StreamStatus.FAILED):
                            running.discard(entry.stream_id)
        finally:
            self.close()
        if failures and len(failures) == len(self._cameras):
            raise SourceError(
                "; ".join(note.detail for note in failures),
                retryable=False,
                reason=failures[0].reason,
            )

    def close(self) -> None:
        """Stop the cameras and free the models. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._path.close()
        for camera in self._cameras:
            camera.stop()
        self._encoder.close()
        self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, spec: SourceSpec) -> Source:
        credentials = None
        if spec.credentials is not None:
            known = {**os.environ, **self._vault}
            credentials = resolve_credentials(spec.credentials, environment=known)
        return open_source(spec, clock=self._clock, credentials=credentials)

    def _encode(self, items: list[FrameHandle | StatusNote]) -> Iterator[InputEntry]:
        """Features of each frame, one at a time: the first is not to wait for the last."""
        image = np.zeros((1, *self._bundle.preprocess.shape), np.uint8)
        for item in items:
            if isinstance(item, StatusNote):
                yield item
                continue
            taken = self._clock.mark()
            item.read_into(image[0])
            features_ND = self._encoder.encode(image)
            yield from assemble_chunks(
                FrameBatch([item.stamp], image),
                features_ND,
                encoder_id=self._encoder.encoder_id,
                taken=taken,
                ready=self._clock.mark(),
            )

    def _advance(self, entry: InputEntry) -> Iterator[Event]:
        taken = self._clock.mark()
        log_entry = LogEntry(entry.entry_us, encode_input(entry), entry)
        checkpoint = self._checkpoints[entry.stream_id]
        (advanced,) = self._stage.advance([(checkpoint, [log_entry])], taken=taken)
        self._checkpoints[entry.stream_id] = advanced.after
        stepped = self._clock.mark()
        temporal_seconds = stepped.seconds_since(taken, otherwise=stepped)
        for event in advanced.events:
            latency = msgspec.structs.replace(event.data.latency, temporal_seconds=temporal_seconds)
            yield event.emitted(latency=latency, at_ns=self._clock.utc_ns())
