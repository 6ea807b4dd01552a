"""What a stream did over time: its events folded into bands that can be drawn.

Pure: no clock, no I/O. Events must come in order and once each (`Continuity` sees to that). A fold
may begin anywhere in the log: an end, and a transition's `previous`, carry the whole segment.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from streamer.client.bands import Band, GapBand, StatusBand, TimelineView
from streamer.core.event import (
    ActionData,
    AnomalyData,
    EventType,
    GapData,
    GapReason,
    PhaseData,
    Status,
    StatusData,
)
from streamer.core.feature import StreamStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.core.event import Event, FrameRef, PhaseEnd, Segment

MAX_BANDS = 4_000
"""Of each kind that a timeline keeps: the newest."""

NEWEST = 64
"""Bands of a kind among which one that goes on is looked for."""

LATENCIES_KEPT = 60
EPOCHS_KEPT = 100


class Timeline:
    """Folds the events of one stream.

    Attributes:
        next_sequence: Number of the event expected next.
        last_ns: Capture time of the newest frame that an event told of; 0 before the first.
        missing_frames: Of all gaps taken.
        latencies_seconds: `pipeline_seconds` of the newest events about frames, oldest first.
        origins: By epoch, where its presentation times begin, UTC nanoseconds; the newest ones.
    """

    def __init__(self) -> None:
        self.next_sequence = 0
        self.last_ns = 0
        self.missing_frames = 0
        self.latencies_seconds: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self.origins: dict[int, int] = {}
        self._phases: deque[Band] = deque(maxlen=MAX_BANDS)
        self._announced: list[Band] = []
        self._actions: deque[Band] = deque(maxlen=MAX_BANDS)
        self._anomalies: deque[Band] = deque(maxlen=MAX_BANDS)
        self._gaps: deque[GapBand] = deque(maxlen=MAX_BANDS)
        self._statuses: deque[StatusBand] = deque(maxlen=MAX_BANDS)

    @property
    def status(self) -> StatusBand | None:
        """The camera's state now."""
        return self._statuses[-1] if self._statuses else None

    @property
    def over(self) -> bool:
        """Whether the camera's state is a final one."""
        final = (StreamStatus.ENDED, StreamStatus.FAILED)
        return self.status is not None and self.status.state in final

    @property
    def anomaly(self) -> Band | None:
        """What is unusual now."""
        return next((band for band in reversed(self._anomalies) if band.end_ns is None), None)

    def take(self, event: Event) -> None:
        """Fold in an event."""
        self.next_sequence = event.number + 1
        data = event.data
        at_ns = int(data.timing.captured_ns)
        self.last_ns = max(self.last_ns, at_ns)
        if not isinstance(data, StatusData):
            self.latencies_seconds.append(data.pipeline_seconds)
            self._take_origin(data.frame, at_ns=at_ns)
        if isinstance(data, PhaseData):
            self._take_phase(data)
        elif isinstance(data, ActionData):
            is_end = event.type is EventType.ACTION_END
            _put(self._actions, _band(data, label=data.label), ended=is_end, at_ns=at_ns)
        elif isinstance(data, AnomalyData):
            is_end = event.type is EventType.ANOMALY_END
            band = _band(data, label="", score=data.score)
            _put(self._anomalies, band, ended=is_end, at_ns=at_ns)
        elif isinstance(data, GapData):
            self._take_gap(data, at_ns=at_ns)
        elif isinstance(data, StatusData):
            self._take_status(data, at_ns=at_ns)

    def close(self) -> None:
        """Events were missed: what was open may have ended, so it ends where it was last seen."""
        self._announced.clear()
        for bands in (self._phases, self._actions, self._anomalies):
            for band in bands:
                if band.end_ns is None:
                    band.end_ns = max(self.last_ns, band.start_ns)

    def forget(self, before_ns: int) -> None:
        """Drop what ended before a time."""
        for bands in (self._phases, self._actions, self._anomalies):
            while bands and (end := bands[0].end_ns) is not None and end < before_ns:
                bands.popleft()
        while self._gaps and self._gaps[0].end_ns < before_ns:
            self._gaps.popleft()
        while self._statuses and (end := self._statuses[0].end_ns) is not None and end < before_ns:
            self._statuses.popleft()

    def view(self, since_ns: int = 0) -> TimelineView:
        """The bands that reach past a time. They are copies."""
        return TimelineView(
            phases=_since(self._phases_in_order(), since_ns),
            actions=_since(self._actions, since_ns),
            anomalies=_since(self._anomalies, since_ns),
            gaps=[gap for gap in self._gaps if gap.end_ns >= since_ns],
            statuses=[
                msgspec.structs.replace(status)
                for status in self._statuses
                if status.end_ns is None or status.end_ns >= since_ns
            ],
            next_sequence=self.next_sequence,
            last_ns=self.last_ns,
        )

    def _phases_in_order(self) -> list[Band]:
        """Confirmed phases, then the announced ones, each until the next begins."""
        bands = [msgspec.structs.replace(band) for band in (*self._phases, *self._announced)]
        bands.sort(key=lambda band: band.start_ns)
        for band, after in itertools.pairwise(bands):
            if band.end_ns is None or band.end_ns > after.start_ns:
                band.end_ns = after.start_ns
        return [band for band in bands if band.end_ns is None or band.end_ns > band.start_ns]

    def _take_phase(self, data: PhaseData) -> None:
        if data.status is Status.RETRACTED:
            # `segment` is that of the announcement.
            self._announced = [
                band for band in self._announced if not _is(band, data.label, data.segment)
            ]
        elif data.status is Status.PROVISIONAL:
            assert data.label is not None
            self._announced = [
                *(band for band in self._announced if not _is(band, data.label, data.segment)),
                _band(data, label=data.label),
            ]
        else:
            self._confirm(data)

    def _confirm(self, data: PhaseData) -> None:
        start_ns = int(data.segment.start_ns)
        if data.label is not None and (known := self._find(data.label, data.segment)) is not None:
            known.confidence = data.confidence  # said before
            return
        if data.previous is not None:
            self._end_previous(data, data.previous)
        for band in itertools.islice(reversed(self._phases), NEWEST):
            if band.end_ns is None:
                band.end_ns = max(start_ns, band.start_ns)
        if data.label is None:
            self._announced.clear()
            return
        self._settle(data.label, data.segment)
        self._phases.append(_band(data, label=data.label))

    def _end_previous(self, data: PhaseData, previous: PhaseEnd) -> None:
        known = self._find(previous.label, previous.segment)
        if known is None:
            # The fold began after its start.
            known = Band(
                label=previous.label,
                start_ns=int(previous.segment.start_ns),
                end_ns=None,
                confidence=None,
                status=Status.CONFIRMED,
                epoch=data.frame.epoch,
                start_pts_seconds=previous.segment.start_pts_seconds,
                frame=data.frame.seq,
            )
            self._phases.append(known)
        known.end_ns = int(previous.segment.end_ns or data.segment.start_ns)

    def _settle(self, label: str, segment: Segment) -> None:
        """The announcement that a confirmed phase was: of this very start, or the first."""
        matches = [band for band in self._announced if band.label == label]
        exact = next((band for band in matches if _is(band, label, segment)), None)
        settled = exact or next(iter(matches), None)
        self._announced = [band for band in self._announced if band is not settled]

    def _find(self, label: str, segment: Segment) -> Band | None:
        newest = itertools.islice(reversed(self._phases), NEWEST)
        return next((band for band in newest if _is(band, label, segment)), None)

    def _take_origin(self, frame: FrameRef, *, at_ns: int) -> None:
        # Set anew by each event: a camera's clock may be corrected while it is watched.
        self.origins[frame.epoch] = at_ns - int(frame.pts_seconds * 1e9)
        if len(self.origins) > EPOCHS_KEPT:
            del self.origins[min(self.origins)]

    def _take_gap(self, data: GapData, *, at_ns: int) -> None:
        self.missing_frames += data.missing_frames
        if data.reason is GapReason.STATE:
            self.close()  # what was open has no end
        self._gaps.append(
            GapBand(
                start_ns=at_ns - int(data.seconds * 1e9),
                end_ns=at_ns,
                missing_frames=data.missing_frames,
                reason=data.reason,
                policy=data.policy,
            )
        )

    def _take_status(self, data: StatusData, *, at_ns: int) -> None:
        if self._statuses:
            self._statuses[-1].end_ns = max(at_ns, self._statuses[-1].start_ns)
        self._statuses.append(
            StatusBand(
                state=data.state,
                reason=data.reason,
                detail=data.detail,
                start_ns=at_ns,
                end_ns=None,
            )
        )


def _band(
    data: PhaseData | ActionData | AnomalyData, *, label: str, score: float | None = None
) -> Band:
    return Band(
        label=label,
        start_ns=int(data.segment.start_ns),
        end_ns=None if data.segment.end_ns is None else int(data.segment.end_ns),
        confidence=data.confidence,
        status=data.status,
        epoch=data.frame.epoch,
        start_pts_seconds=data.segment.start_pts_seconds,
        frame=data.frame.seq,
        score=score,
    )


def _is(band: Band, label: str | None, segment: Segment) -> bool:
    return band.label == label and band.start_ns == int(segment.start_ns)


def _put(bands: deque[Band], band: Band, *, ended: bool, at_ns: int) -> None:
    """Add a band, or replace it by what is said of it now; one that is retracted goes."""
    place = next(
        (
            place
            for place in range(len(bands) - 1, max(-1, len(bands) - 1 - NEWEST), -1)
            if (bands[place].label, bands[place].start_ns) == (band.label, band.start_ns)
        ),
        None,
    )
    if ended and band.end_ns is None:
        band.end_ns = max(at_ns, band.start_ns)
    if band.status is Status.RETRACTED:
        if place is not None:
            del bands[place]
    elif place is None:
        bands.append(band)
    else:
        bands[place] = band


def _since(bands: Iterable[Band], since_ns: int) -> list[Band]:
    return [
        msgspec.structs.replace(band)
        for band in bands
        if band.end_ns is None or band.end_ns >= since_ns
    ]
