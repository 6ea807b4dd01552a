"""A video's features through the stages of serving: the events and the outputs behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.clock import ClockSource, Mark
from streamer.core.errors import ConfigError
from streamer.core.feature import LEDGER_COLUMNS, FeatureChunk, StatusNote, StreamStatus
from streamer.stages.temporal import TemporalStage
from streamer.transport.codec import encode_input
from streamer.transport.transport import LogEntry

if TYPE_CHECKING:
    from streamer.core.event import Event
    from streamer.core.feature import InputEntry
    from streamer.models.bundle import Bundle
    from streamer.models.temporal.model import TemporalModel

_ROW = 0
_EPOCH = 1
_TAKEN = Mark("evaluation", 0)
"""No process's clock: an evaluation measures no waiting."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What serving made of a video.

    Attributes:
        logits_TC: float32, the model's outputs.
        probabilities_TC: float32, calibrated, as the decoder has them.
        events: What was said while the video ran. `data.frame.seq` is the index t of the frame.
        closing: What was said because it ended.
    """

    logits_TC: np.ndarray
    probabilities_TC: np.ndarray
    events: tuple[Event, ...]
    closing: tuple[Event, ...]


class Watcher:
    """Watches videos one after the other, each from a fresh state, in the same row of the batch.

    The input entries that an encoder would have published are folded in by the `TemporalStage`, as
    workers, `Pipeline` and replay do it: the events are those that serving emits.

    Args:
        bundle: What is measured.
        model: Of the bundle, opened. The caller closes it.
        window_frames: Take (h, c) back to zero after so many frames, as models do that see a window
            at a time; the decoder goes on. Default: the state is carried, as serving does.
    """

    def __init__(
        self, bundle: Bundle, model: TemporalModel, *, window_frames: int | None = None
    ) -> None:
        self._bundle = bundle
        self._tap = _Tap(model, window_frames)
        self._stage = TemporalStage(bundle, self._tap)

    def watch(self, name: str, features_TD: np.ndarray, pts_T: np.ndarray) -> Watched:
        """Watch a video.

        Args:
            name: The stream's id.
            features_TD: float16, of its analysed frames.
            pts_T: float64, their presentation times, seconds.

        Raises:
            ConfigError: The stage refuses the features.
        """
        self._tap.begin()
        before = self._stage.initial(name, row=_ROW)
        chunk = self._chunk(name, features_TD, pts_T)
        (ran,) = self._stage.advance([(before, [_entry(chunk)])], taken=_TAKEN)
        if ran.dead_letters:
            raise ConfigError(f"{name}: can't be evaluated: {ran.dead_letters[0].detail}")
        (ended,) = self._stage.advance([(ran.after, [_entry(_end_of(chunk))])], taken=_TAKEN)
        logits_TC = np.stack(self._tap.outputs)
        return Watched(
            logits_TC=logits_TC,
            probabilities_TC=np.stack(
                [self._stage.decoder.probabilities(row) for row in logits_TC]
            ),
            events=ran.events,
            closing=ended.events,
        )

    def _chunk(self, name: str, features_TD: np.ndarray, pts_T: np.ndarray) -> FeatureChunk:
        captured_ns = np.round(pts_T * 1e9).astype(np.int64)
        return FeatureChunk(
            stream_id=name,
            session="evaluation",
            epoch=_EPOCH,
            first_seq=0,
            entry_us=max(1, int(captured_ns[-1]) // 1000),
            features=features_TD,
            pts_seconds=pts_T,
            captured_at_ns=captured_ns,
            received_at_ns=captured_ns,
            latency=np.zeros((len(pts_T), len(LEDGER_COLUMNS)), np.float32),
            clock=ClockSource.FILE,
            encoder_id=self._bundle.config.encoder_id,
            ready=_TAKEN,
        )


class _Tap:
    """A temporal model that keeps its outputs, and that may forget. Satisfies `TemporalModel`."""

    def __init__(self, model: TemporalModel, window_frames: int | None) -> None:
        self.rows, self.num_classes = model.rows, model.num_classes
        self.num_layers, self.hidden_dim = model.num_layers, model.hidden_dim
        self.feature_dim = model.feature_dim
        self.outputs: list[np.ndarray] = []
        self._model = model
        self._window_frames = window_frames

    def begin(self) -> None:
        """Another video."""
        self.outputs = []

    def step(
        self, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One frame. See `TemporalModel.step`."""
        if self._window_frames and len(self.outputs) % self._window_frames == 0:
            hidden_LBH, cell_LBH = np.zeros_like(hidden_LBH), np.zeros_like(cell_LBH)
        logits_BC, hidden_after, cell_after = self._model.step(features_BD, hidden_LBH, cell_LBH)
        self.outputs.append(logits_BC[_ROW].copy())
        return logits_BC, hidden_after, cell_after

    def close(self) -> None:
        """The model is the caller's."""


def _end_of(chunk: FeatureChunk) -> StatusNote:
    return StatusNote(
        stream_id=chunk.stream_id,
        session=chunk.session,
        epoch=chunk.epoch,
        note_seq=0,
        entry_us=chunk.entry_us + 1,
        status=StreamStatus.ENDED,
        reason="",
        detail="",
        noted_at_ns=int(chunk.captured_at_ns[-1]),
        ready=_TAKEN,
    )


def _entry(entry: InputEntry) -> LogEntry:
    return LogEntry(entry.entry_us, encode_input(entry), entry)
