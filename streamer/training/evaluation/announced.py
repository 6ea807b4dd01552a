"""What a subscriber learned of a video from its events: segments, announcements, what was shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.event import ActionData, EventType, PhaseData, Status
from streamer.training.metrics import Stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.event import Event
    from streamer.training.annotations import Labels


@dataclass(frozen=True, slots=True)
class Announcement:
    """The first word about a segment.

    Attributes:
        label: Index of the class; phases come first, then actions.
        at_seconds: Time of the frame with which it was told: the one that decided, or the last that
            the model looked ahead at.
        confidence: Then.
        retracted: Whether it was taken back while the video ran.
    """

    label: int
    at_seconds: float
    confidence: float
    retracted: bool = False

    def of_class(self, label: int) -> Announcement:
        """The same under another index."""
        return replace(self, label=label)


@dataclass(frozen=True, slots=True)
class Announced:
    """What was said about a video.

    Attributes:
        phases: Confirmed phases.
        actions: Confirmed actions; the labels count from the first action.
        announcements: In order.
        shown_TC: bool, what a subscriber held to be so right after each frame: the last phase that
            was announced and not taken back, and the actions that began and did not end.
    """

    phases: list[Stretch]
    actions: list[Stretch]
    announcements: list[Announcement]
    shown_TC: np.ndarray


def read_events(
    events: Sequence[Event],
    closing: Sequence[Event],
    *,
    labels: Labels,
    pts_T: np.ndarray,
    lookahead_frames: int = 0,
) -> Announced:
    """Read the events of one video.

    Args:
        events: While it ran; `data.frame.seq` counts its frames.
        closing: Those that its end made. What the end takes back was no mistake.
        labels: The classes.
        pts_T: Presentation times of its frames, seconds.
        lookahead_frames: How many frames after the one that decided an event was told; less at the
            end.
    """
    reader = _Reader(labels, pts_T, lookahead_frames)
    for event in events:
        reader.read(event, closing=False)
    for event in closing:
        reader.read(event, closing=True)
    return Announced(reader.phases, reader.actions, reader.announcements, reader.shown_TC)


class _Reader:
    """Reads events one by one."""

    def __init__(self, labels: Labels, pts_T: np.ndarray, lookahead_frames: int) -> None:
        self._pts_T = pts_T
        self._lookahead_frames = lookahead_frames
        self._index = {label: k for k, label in enumerate((*labels.phases, *labels.actions))}
        self._num_phases = len(labels.phases)
        self._phase: int | None = None
        self._open: dict[int, int] = {}
        """By class: where in `announcements` the one is that may still be taken back."""
        self.phases: list[Stretch] = []
        self.actions: list[Stretch] = []
        self.announcements: list[Announcement] = []
        self.shown_TC = np.zeros((len(pts_T), len(self._index)), bool)

    def read(self, event: Event, *, closing: bool) -> None:
        match event.data:
            case PhaseData() as data:
                self._read_phase(data, closing=closing)
            case ActionData() as data:
                self._read_action(event.type, data, closing=closing)

    def _read_phase(self, data: PhaseData, *, closing: bool) -> None:
        label = None if data.label is None else self._index[data.label]
        shown = label
        if data.status is Status.RETRACTED and label is not None:
            self._end(label, retracted=not closing)
            shown = self._phase
        elif label is not None:
            self._announce(label, data)
        if data.status is Status.CONFIRMED:
            if label is not None:
                self._end(label, retracted=False)
            self._phase = label
            if data.previous is not None:
                segment = data.previous.segment
                assert segment.end_pts_seconds is not None
                self.phases.append(
                    Stretch(
                        self._index[data.previous.label],
                        segment.start_pts_seconds,
                        segment.end_pts_seconds,
                    )
                )
        if not closing:
            rest_TC = self.shown_TC[self._told(data) :]
            rest_TC[:, : self._num_phases] = False
            if shown is not None:
                rest_TC[:, shown] = True

    def _read_action(self, type: EventType, data: ActionData, *, closing: bool) -> None:
        label = self._index[data.label]
        if type is EventType.ACTION_END:
            retracted = data.status is Status.RETRACTED
            self._end(label, retracted=retracted and not closing)
            if not retracted:
                end_seconds = data.segment.end_pts_seconds
                assert end_seconds is not None
                self.actions.append(
                    Stretch(label - self._num_phases, data.segment.start_pts_seconds, end_seconds)
                )
        elif type is EventType.ACTION_START:
            self._announce(label, data)
        if not closing:
            self.shown_TC[self._told(data) :, label] = type is not EventType.ACTION_END

    def _told(self, data: PhaseData | ActionData) -> int:
        """The frame that had just come when a subscriber was told."""
        return min(data.frame.seq + self._lookahead_frames, len(self._pts_T) - 1)

    def _announce(self, label: int, data: PhaseData | ActionData) -> None:
        """Unless it has been: what is confirmed was announced when it was provisional."""
        if label not in self._open:
            self._open[label] = len(self.announcements)
            at_seconds = float(self._pts_T[self._told(data)])
            self.announcements.append(Announcement(label, at_seconds, data.confidence))

    def _end(self, label: int, *, retracted: bool) -> None:
        place = self._open.pop(label, None)
        if place is not None and retracted:
            self.announcements[place] = replace(self.announcements[place], retracted=True)
