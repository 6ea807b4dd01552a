"""From a table of clips to their features: what is wrong with it is told before any is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations import Kind, Labels
from streamer.training.annotations.annotation import Annotation
from streamer.training.annotations.clip_table import read_clip_table
from streamer.training.annotations.table import Row, Table
from streamer.training.checks.finding import Severity
from streamer.training.checks.media import check_media
from streamer.training.checks.splits import check_splits, check_training
from streamer.training.clip_truth import ClipRows, find_clips, words_of
from streamer.training.dataset import make_examples
from streamer.training.recording import group_rows
from streamer.training.video import VideoClip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np

    from streamer.core.clock import Clock
    from streamer.models.config import Head, Pooling
    from streamer.training.annotations.clip_table import ClipRow
    from streamer.training.dataset import Progress
    from streamer.training.features import TrackMaker
    from streamer.training.recording import Recording

MOMENT_SECONDS = 1e-3
"""How long a whole video is for checks that want an end."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A clip whose truth is not yet in numbers."""

    rows: ClipRows
    features_TD: np.ndarray
    pts_T: np.ndarray
    group: str


class ClipReading:
    """A table that has been checked, and its clips by video.

    Attributes:
        path: The table.
        head: Any but `frames`.
        labels: Classes, phases or names of values, sorted; none of captions.
        recordings: The videos.
        clips: Of each.

    Args:
        path: The table.
        head: Any but `frames`.
        pooling: Of the head.
        for_training: Whether it is to be dealt out and learned from.
        progress: Is told of each video that is looked at.

    Raises:
        ConfigError: The table or a video is not usable.
    """

    def __init__(
        self,
        path: Path,
        head: Head,
        pooling: Pooling,
        *,
        for_training: bool,
        progress: Callable[[Progress], None],
    ) -> None:
        self.path, self.head = path, head
        rows = read_clip_table(path, head)
        self.labels: tuple[str, ...] = (
            () if head == "caption" else tuple(sorted({row.label for row in rows}))
        )
        table = Table(path, tuple(_plain(row, head) for row in rows), ())
        self.recordings: list[Recording] = group_rows(table.rows)
        by_video: dict[Path, list[ClipRow]] = {}
        for row in rows:
            by_video.setdefault(row.video, []).append(row)
        self.clips = [
            find_clips(path, by_video[recording.path], head=head, pooling=pooling)
            for recording in self.recordings
        ]
        self._check_truth(pooling)
        findings = (
            *check_splits(table, self.recordings),
            *(check_training(table, self.recordings) if for_training else ()),
            *check_media(table, self.recordings, progress),
        )
        for finding in findings:
            if finding.severity is Severity.ERROR:
                raise ConfigError(str(finding))

    def check_known(self, names: Sequence[str]) -> None:
        """Raise ConfigError at the first row whose label the model does not know."""
        rows = (row for clips in self.clips for clip in clips for row in clip.rows)
        for row in sorted(rows, key=lambda row: row.line):
            if row.label not in names:
                raise ConfigError(
                    f"{self.path}, line {row.line}: expected one of the bundle's "
                    f"{', '.join(names)}, found {row.label!r}"
                )

    def _check_truth(self, pooling: Pooling) -> None:
        for clip in (clip for clips in self.clips for clip in clips):
            if self.head == "caption":
                words_of(clip)
            if self.head == "regression" and pooling != "none":
                told = {row.label for row in clip.rows}
                if missing := [name for name in self.labels if name not in told]:
                    raise clip.fault(
                        f"{clip.name}: expected a value of {', '.join(self.labels)} each, found "
                        f"none of {missing[0]!r} with the same start and end; add a row"
                    )
        if self.head == "sequence" and len(self.labels) < 2:
            raise ConfigError(
                f"{self.path}: expected at least two classes, found {self.labels[0]!r} alone"
            )

    def cut(
        self, maker: TrackMaker, clock: Clock, progress: Callable[[Progress], None]
    ) -> list[tuple[Draft, ...]]:
        """The clips of each recording, with their features."""
        examples = make_examples(
            [VideoClip(recording.path, ()) for recording in self.recordings],
            labels=Labels((), ()),
            maker=maker,
            clock=clock,
            progress=progress,
        )
        drafts = []
        for recording, clips, example in zip(self.recordings, self.clips, examples, strict=True):
            made = []
            for clip in clips:
                start, end = clip.span
                # By times from the first frame, as everywhere in the table.
                pts_T = example.pts_T - example.pts_T[0]
                kept_T = (pts_T >= start) & (pts_T < end)
                if not kept_T.any():
                    raise clip.fault(
                        f"{clip.name}: expected analysed frames, found none; give it longer, or "
                        "analyse more frames per second"
                    )
                made.append(
                    Draft(clip, example.features_TD[kept_T], pts_T[kept_T], recording.group)
                )
            drafts.append(tuple(made))
        return drafts


def _plain(row: ClipRow, head: Head) -> Row:
    """As the checks of files and parts want it."""
    start, end = row.span
    note = Annotation(
        label=row.label if head in ("sequence", "ctc") else head,
        kind=Kind.PHASE,
        start_seconds=start,
        end_seconds=MOMENT_SECONDS if math.isinf(end) else end,
    )
    return Row(line=row.line, video=row.video, annotation=note, split=row.split, source=row.source)
