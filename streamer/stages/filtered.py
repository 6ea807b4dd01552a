"""Phases by the forward filter: provisional at once, confirmed at a fixed lag.

At each frame the filter gives the most probable phase of every frame in its window. The newest one,
at lag 0, is announced as provisional. The oldest one is confirmed: the confirmed boundaries lie
where that sequence changes. What was announced and is in the window's sequence no more is
retracted.

An announcement keeps its label, not its start: a confirmed boundary may lie before or after it.
Revisions of one start go up: even ones announce, odd ones retract, and the last one confirms.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from streamer.core.event import Status
from streamer.core.state import OpenSegment
from streamer.stages.decision import retraction, transition
from streamer.stages.phase_filter import PhaseFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from streamer.core.state import DecoderState, FilterState
    from streamer.models.phase_filter import PhaseFilterConfig
    from streamer.stages.decision import Decision, Moment


class FilteredPhases:
    """Decides the phases of any number of streams; holds nothing of any of them.

    Args:
        config: Of the filter.
        enter_P: Filtered probability at which a phase is announced.
        analysis_fps: Frames per second.

    Attributes:
        filter: The filter.
    """

    def __init__(
        self, config: PhaseFilterConfig, *, enter_P: Sequence[float], analysis_fps: float
    ) -> None:
        self.filter = PhaseFilter(config, analysis_fps=analysis_fps)
        self._enter_P = enter_P

    def decide(self, state: DecoderState, *, at: Moment) -> tuple[DecoderState, list[Decision]]:
        """Fold in one frame, whose smoothed probabilities `state` has already."""
        assert state.filter is not None
        filtered, chances_WP = self.filter.advance(
            state.filter,
            state.smoothed_C[: len(self._enter_P)],
            at=at,
            confirmed=None if state.phase is None else state.phase.label,
        )
        frame_decisions = _FrameDecisions(filtered, chances_WP, state.phase, at)
        if self.filter.is_full(filtered):
            frame_decisions.confirm()
        frame_decisions.retract()
        frame_decisions.announce(self._enter_P)
        return frame_decisions.after(state), frame_decisions.decisions


class _FrameDecisions:
    """What one frame decides."""

    def __init__(
        self,
        filtered: FilterState,
        chances_WP: np.ndarray,
        phase: OpenSegment | None,
        at: Moment,
    ) -> None:
        self._filtered = filtered
        self._chances_WP = chances_WP
        self._path_W: list[int] = chances_WP.argmax(axis=1).tolist()
        self._phase = phase
        self._at = at
        first_seq = int(filtered.seq_W[0])
        self._announced = [
            segment
            for segment in filtered.announced
            if is_live(segment) or segment.start_seq >= first_seq
        ]
        self.decisions: list[Decision] = []

    def after(self, state: DecoderState) -> DecoderState:
        """The state after the frame."""
        filtered = replace(self._filtered, announced=tuple(self._announced))
        return replace(state, phase=self._phase, filter=filtered)

    def confirm(self) -> None:
        """The oldest frame's phase is certain now."""
        label = self._path_W[0]
        if self._phase is not None and label == self._phase.label:
            return
        revision = 0
        live = [index for index, segment in enumerate(self._announced) if is_live(segment)]
        matches = [index for index in live if self._announced[index].label == label]
        if matches:
            # One that was announced at this very frame, or the first.
            seq = int(self._filtered.seq_W[0])
            match = next((k for k in matches if self._announced[k].start_seq == seq), matches[0])
            for index in live[: live.index(match)]:
                self._take_back(index)
            revision = self._settle(match, seq)
        boundary = self._open(0, revision=self._next_revision(label, 0, at_least=revision))
        confirmed = msgspec.structs.replace(boundary, confirmed=True)
        self._say(confirmed, self._phase, Status.CONFIRMED)
        self._phase = confirmed

    def retract(self) -> None:
        """Take back what the window's sequence has no more, in its order."""
        runs = [label for label, _ in groupby(self._path_W)]
        if self._phase is not None and runs[0] == self._phase.label:
            runs = runs[1:]
        for index, segment in enumerate(self._announced):
            if not is_live(segment):
                continue
            if segment.label in runs:
                runs = runs[runs.index(segment.label) + 1 :]
            else:
                self._take_back(index)

    def announce(self, enter_P: Sequence[float]) -> None:
        """Say what begins, if it does."""
        label = self._path_W[-1]
        live = [segment for segment in self._announced if is_live(segment)]
        previous = live[-1] if live else self._phase
        newest = len(self._path_W) - 1
        if (previous is not None and previous.label == label) or (
            self._chances_WP[newest, label] < enter_P[label]
        ):
            return
        start = newest
        while start and self._path_W[start - 1] == label:
            start -= 1
        revision = self._next_revision(label, start, at_least=0)
        if revision % 2:
            return  # that very announcement stands
        segment = self._open(start, revision=revision, seen=newest)
        self._announced = [*self._others(segment), segment]
        self._say(segment, previous, Status.PROVISIONAL)

    def _others(self, segment: OpenSegment) -> list[OpenSegment]:
        return [
            known
            for known in self._announced
            if (known.label, known.start_seq) != (segment.label, segment.start_seq)
        ]

    def _next_revision(self, label: int, frame: int, *, at_least: int) -> int:
        """A revision that no event about this label and start has had."""
        seq = int(self._filtered.seq_W[frame])
        had = [
            segment.revision + 1
            for segment in self._announced
            if (segment.label, segment.start_seq) == (label, seq)
        ]
        return max([at_least, *had])

    def _open(self, frame: int, *, revision: int, seen: int | None = None) -> OpenSegment:
        """The segment that begins at a frame of the window, as probable as at frame `seen`."""
        label = self._path_W[frame]
        return OpenSegment(
            label=label,
            start_seq=int(self._filtered.seq_W[frame]),
            start_ns=int(self._filtered.ns_W[frame]),
            start_pts_seconds=float(self._filtered.pts_W[frame]),
            revision=revision,
            confidence=min(1.0, float(self._chances_WP[frame if seen is None else seen, label])),
        )

    def _settle(self, index: int, seq: int) -> int:
        """The announcement becomes a segment that begins at `seq`; returns its next revision."""
        segment = self._announced[index]
        if segment.start_seq == seq:
            del self._announced[index]
        else:  # kept in mind: another could begin where this one was said to
            self._announced[index] = msgspec.structs.replace(segment, revision=segment.revision + 1)
        return segment.revision + 1

    def _take_back(self, index: int) -> None:
        segment = self._announced[index]
        self.decisions.append(retraction(segment, at=self._at))
        self._announced[index] = msgspec.structs.replace(segment, revision=segment.revision + 1)

    def _say(self, segment: OpenSegment, previous: OpenSegment | None, status: Status) -> None:
        self.decisions.append(transition(segment, previous, at=self._at, status=status))


def is_live(segment: OpenSegment) -> bool:
    """Whether an announcement stands."""
    return segment.revision % 2 == 0
