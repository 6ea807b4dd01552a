"""What each stream is doing now: from its stored state, and the timelines."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from streamer.core.feature import StreamStatus
from streamer.state.redis import RedisCheckpointStore
from streamer.state.store import Stored
from streamer.transport.model_registry import ModelEntry, ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import redis

    from streamer.client.timeline import Timeline
    from streamer.core.state import OpenSegment, StreamState
    from streamer.transport.keys import Keys

TOP = 3
FRESH_SECONDS = 0.25
"""All who ask within this time get the same answer."""

FPS_SECONDS = 5.0
"""Frames are counted over at most this time."""

STARTING = "starting"
"""The state of a stream of which no event has told yet."""

_SILENT = (StreamStatus.ENDED, StreamStatus.FAILED, StreamStatus.PAUSED)


class LabelNow(BaseModel):
    """A phase or an action that is on."""

    label: str
    confidence: float
    since_ns: str
    status: str


class Probability(BaseModel):
    """How probable a phase is."""

    label: str
    probability: float


class AnomalyNow(BaseModel):
    """Something unusual that is on."""

    score: float
    confidence: float
    since_ns: str
    status: str


class Live(BaseModel):
    """What a stream is doing now.

    Attributes:
        state: Of the camera: `starting`, or a `StreamStatus`.
        reason: Why, for one that is not well, in a word.
        detail: The same in a line.
        epoch: Opening of the source; 0 before the first frame.
        seq: Of the newest frame folded in; -1 before the first.
        fps: Frames folded in per second, lately; None until two looks are known.
        missing_frames: In the time that the timelines reach back.
        age_seconds: Since the newest frame's capture; None before the first.
        phase: The phase now, announced or confirmed.
        top: The most probable phases.
        actions: Those that are on.
        anomaly: None while nothing is unusual.
        latencies_seconds: Of the newest events, oldest first.
        model_id: Of the model that watches; None before the first frame.
    """

    state: str = STARTING
    reason: str = ""
    detail: str = ""
    epoch: int = 0
    seq: int = -1
    fps: float | None = None
    missing_frames: int = 0
    age_seconds: float | None = None
    phase: LabelNow | None = None
    top: list[Probability] = []
    actions: list[LabelNow] = []
    anomaly: AnomalyNow | None = None
    latencies_seconds: list[float] = []
    model_id: str | None = None


class LiveViews:
    """Looks at the states of streams. For many threads."""

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._store = RedisCheckpointStore(client, keys=keys)
        self._models = ModelRegistry(client, keys=keys)
        self._labels: dict[str, ModelEntry] = {}
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._looked_for: frozenset[str] = frozenset()
        self._states: dict[str, StreamState] = {}
        self._paces: dict[str, _Pace] = {}

    def look(
        self, stream_ids: Collection[str], timelines: Mapping[str, Timeline]
    ) -> dict[str, Live]:
        """What each of these streams is doing.

        Raises:
            TransportError: Redis is away.
        """
        now = time.monotonic()
        with self._lock:
            if now - self._looked_at > FRESH_SECONDS or not self._looked_for.issuperset(stream_ids):
                self._read(stream_ids, timelines, now=now)
            return {
                stream_id: self._live(stream_id, timelines.get(stream_id))
                for stream_id in stream_ids
            }

    def _read(
        self, stream_ids: Collection[str], timelines: Mapping[str, Timeline], *, now: float
    ) -> None:
        stored = self._store.load(stream_ids)
        self._states = {
            stream_id: found.state
            for stream_id, found in stored.items()
            if isinstance(found, Stored) and found.state is not None
        }
        self._looked_at, self._looked_for = now, frozenset(stream_ids)
        if any(state.model_id not in self._labels for state in self._states.values()):
            self._labels = self._models.all()
        for stream_id, state in self._states.items():
            timeline = timelines.get(stream_id)
            missing = 0 if timeline is None else timeline.missing_frames
            pace = self._paces.setdefault(stream_id, _Pace())
            pace.take(now, epoch=state.epoch, frames=state.next_seq - missing)
        self._paces = {s: pace for s, pace in self._paces.items() if s in self._states}

    def _live(self, stream_id: str, timeline: Timeline | None) -> Live:
        live = Live()
        if timeline is not None:
            if timeline.status is not None:
                live.state = timeline.status.state
                live.reason, live.detail = timeline.status.reason, timeline.status.detail
            live.missing_frames = timeline.missing_frames
            live.latencies_seconds = list(timeline.latencies_seconds)
        state = self._states.get(stream_id)
        if state is None:
            return live
        live.epoch, live.seq, live.model_id = state.epoch, state.next_seq - 1, state.model_id
        if state.last_captured_ns:
            live.age_seconds = max(0.0, (time.time_ns() - state.last_captured_ns) * 1e-9)
        if live.state in _SILENT:
            return live
        live.fps = self._paces[stream_id].fps
        labels = self._labels.get(state.model_id)
        if labels is not None:
            _tell_decoder(live, state, labels)
        if state.anomaly is not None and state.anomaly.segment is not None:
            segment = state.anomaly.segment
            live.anomaly = AnomalyNow(
                score=state.anomaly.peak,
                confidence=segment.confidence,
                since_ns=str(segment.start_ns),
                status=_status(segment),
            )
        return live


class _Pace:
    """Counts frames over a few seconds."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()
        self._epoch = 0

    def take(self, now: float, *, epoch: int, frames: int) -> None:
        if epoch != self._epoch or (self._looks and frames < self._looks[-1][1]):
            self._looks.clear()
        self._epoch = epoch
        self._looks.append((now, frames))
        while len(self._looks) > 2 and now - self._looks[1][0] >= FPS_SECONDS:
            self._looks.popleft()

    @property
    def fps(self) -> float | None:
        if len(self._looks) < 2:
            return None
        (begun, before), (now, frames) = self._looks[0], self._looks[-1]
        return (frames - before) / max(now - begun, 1e-3)


def _tell_decoder(live: Live, state: StreamState, labels: ModelEntry) -> None:
    """Phases and actions of a decoder's state."""
    names = (*labels.phases, *labels.actions)
    decoder = state.decoder
    if len(decoder.smoothed_C) != len(names):
        return  # of another model under the same id: nothing can be said
    chances_C = np.nan_to_num(decoder.smoothed_C, nan=0.0)
    chances_P = chances_C[: len(labels.phases)]
    seen = not np.isnan(decoder.smoothed_C).all()
    live.top = [
        Probability(label=names[index], probability=round(float(chances_P[index]), 4))
        for index in np.argsort(-chances_P, kind="stable")[:TOP].tolist()
        if seen
    ]
    now = _phase_now(state)
    if now is not None:
        live.phase = _label_now(now, names, chances_C)
    live.actions = [_label_now(segment, names, chances_C) for segment in decoder.actions]


def _phase_now(state: StreamState) -> OpenSegment | None:
    """What was said last: an announcement that stands, or the confirmed phase."""
    decoder = state.decoder
    if decoder.filter is not None:
        # An odd revision is taken back, or confirmed elsewhere: see `FilterState`.
        standing = [s for s in decoder.filter.announced if s.revision % 2 == 0]
        return standing[-1] if standing else decoder.phase
    return decoder.candidate or decoder.phase


def _label_now(segment: OpenSegment, names: tuple[str, ...], chances_C: np.ndarray) -> LabelNow:
    return LabelNow(
        label=names[segment.label],
        confidence=round(float(chances_C[segment.label]), 4),
        since_ns=str(segment.start_ns),
        status=_status(segment),
    )


def _status(segment: OpenSegment) -> str:
    return "confirmed" if segment.confirmed else "provisional"
