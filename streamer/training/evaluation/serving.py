"""A video's features through the stages of serving: the events and the outputs behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.clock import ClockSource, Mark
from streamer.core.errors import ConfigError
from streamer.core.event import EventType
from streamer.core.feature import LEDGER_COLUMNS, FeatureChunk, StatusNote, StreamStatus
from streamer.models.temporal.model import LookaheadModel
from streamer.stages.temporal import TemporalStage
from streamer.transport.codec import encode_input
from streamer.transport.transport import LogEntry

if TYPE_CHECKING:
    from streamer.core.event import Event
    from streamer.core.feature import InputEntry
    from streamer.models.bundle import Bundle
    from streamer.models.temporal.model import OnlineModel, TemporalModel

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
        model: Of the bundle, opened. The caller closes it. One that looks ahead says nothing of a
            frame before the last that it looks at has come, or the video has ended.
        window_frames: Take (h, c) back to zero after so many frames, as models do that see a window
            at a time; the decoder goes on. Default: the state is carried, as serving does.
    """

    def __init__(
        self, bundle: Bundle, model: OnlineModel, *, window_frames: int | None = None
    ) -> None:
        self._bundle = bundle
        self._tap = (
            _WindowTap(model, window_frames)
            if isinstance(model, LookaheadModel)
            else _FrameTap(model, window_frames)
        )
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
        events, after = ran.events, ran.after
        if after.state.num_waiting:
            # The last frames, apart from what the end itself says.
            pause = _note_after(chunk, StreamStatus.RECONNECTING)
            (waited,) = self._stage.advance([(after, [_entry(pause)])], taken=_TAKEN)
            told = (event for event in waited.events if event.type != EventType.STREAM_STATUS)
            events, after = (*events, *told), waited.after
        end = _note_after(chunk, StreamStatus.ENDED)
        (ended,) = self._stage.advance([(after, [_entry(end)])], taken=_TAKEN)
        logits_TC = np.stack(self._tap.outputs)
        return Watched(
            logits_TC=logits_TC,
            probabilities_TC=np.stack(
                [self._stage.decoder.probabilities(row) for row in logits_TC]
            ),
            events=events,
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
    """What models that keep their outputs, and that may forget, share."""

    def __init__(self, model: OnlineModel, window_frames: int | None) -> None:
        self.rows, self.num_classes = model.rows, model.num_classes
        self.num_layers, self.hidden_dim = model.num_layers, model.hidden_dim
        self.feature_dim = model.feature_dim
        self.outputs: list[np.ndarray] = []
        self._window_frames = window_frames

    def begin(self) -> None:
        """Another video."""
        self.outputs = []

    def close(self) -> None:
        """The model is the caller's."""

    def _remembered(self, state_LBH: np.ndarray) -> np.ndarray:
        """A state, or zeros where a window begins."""
        if self._window_frames and len(self.outputs) % self._window_frames == 0:
            return np.zeros_like(state_LBH)
        return state_LBH


class _FrameTap(_Tap):
    """Satisfies `TemporalModel`."""

    def __init__(self, model: TemporalModel, window_frames: int | None) -> None:
        super().__init__(model, window_frames)
        self._model = model

    def step(
        self, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One frame. See `TemporalModel.step`."""
        result = self._model.step(
            features_BD, self._remembered(hidden_LBH), self._remembered(cell_LBH)
        )
        self.outputs.append(result[0][_ROW].copy())
        return result


class _WindowTap(_Tap):
    """Satisfies `LookaheadModel`."""

    def __init__(self, model: LookaheadModel, window_frames: int | None) -> None:
        super().__init__(model, window_frames)
        self.lookahead_frames, self.projection_dim = model.lookahead_frames, model.projection_dim
        self._model = model

    def step_window(
        self,
        features_BD: np.ndarray,
        window_RBP: np.ndarray,
        mask_SB: np.ndarray,
        hidden_LBH: np.ndarray,
        cell_LBH: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One frame. See `LookaheadModel.step_window`."""
        hidden_LBH, cell_LBH = self._remembered(hidden_LBH), self._remembered(cell_LBH)
        result = self._model.step_window(features_BD, window_RBP, mask_SB, hidden_LBH, cell_LBH)
        if mask_SB[0, _ROW]:
            self.outputs.append(result[0][_ROW].copy())
        return result


def _note_after(chunk: FeatureChunk, status: StreamStatus) -> StatusNote:
    return StatusNote(
        stream_id=chunk.stream_id,
        session=chunk.session,
        epoch=chunk.epoch,
        note_seq=0,
        entry_us=chunk.entry_us + 1,
        status=status,
        reason="",
        detail="",
        noted_at_ns=int(chunk.captured_at_ns[-1]),
        ready=_TAKEN,
    )


def _entry(entry: InputEntry) -> LogEntry:
    return LogEntry(entry.entry_us, encode_input(entry), entry)
