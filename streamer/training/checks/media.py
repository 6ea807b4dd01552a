"""Findings in the videos, or in feature files: unreadable, of another length, of variable rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.checks.finding import Finding, Severity
from streamer.training.dataset import Progress
from streamer.training.feature_file import SUFFIX, read_feature_set, read_features
from streamer.training.timing import read_timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from streamer.training.annotations.table import Table
    from streamer.training.feature_file import FeatureSet
    from streamer.training.recording import Recording
    from streamer.training.timing import VideoTiming

MAX_BEYOND_SECONDS = 0.5
"""A label may end so long after its video: annotation tools round, players stop late."""
MIN_LABELLED_RATIO = 0.5
"""Labels that end before this part of the video look like those of another one."""


def check_media(
    table: Table, recordings: Sequence[Recording], progress: Callable[[Progress], None]
) -> Iterator[Finding]:
    """Findings in the files the rows name. `progress` is told of each."""
    features: FeatureSet | None = None
    files = [recording for recording in recordings if recording.path.suffix == SUFFIX]
    if files:
        try:
            features = read_feature_set(table.path)
        except ConfigError as error:
            yield _unreadable(table.path, files[0], error)
            return
        if len(files) < len(recordings):
            other = next(each for each in recordings if each.path.suffix != SUFFIX)
            yield Finding(
                severity=Severity.ERROR,
                code="unreadable",
                file=table.path,
                line=other.line,
                text=f"expected feature files ({SUFFIX}) throughout, as in line {files[0].line}, "
                f"found {other.path.name}",
                advice="make a table of videos and one of feature files",
            )
            return
    for index, recording in enumerate(recordings):
        progress(Progress(recording.path.name, index=index, total=len(recordings), seconds=0.0))
        try:
            if features is None:
                timing = read_timing(recording.path)
                seconds = timing.duration_seconds
                yield from _rate(table.path, recording, timing)
            else:
                seconds = len(read_features(recording.path, features)) / features.fps
        except ConfigError as error:
            yield _unreadable(table.path, recording, error)
            continue
        yield from _lengths(table.path, recording, seconds)


def _rate(table: Path, recording: Recording, timing: VideoTiming) -> Iterator[Finding]:
    if timing.is_variable:
        yield Finding(
            severity=Severity.WARNING,
            code="variable-rate",
            file=table,
            line=recording.line,
            text=f"{recording.path.name}: expected a constant frame rate, found pauses up to "
            f"{timing.longest_pause_seconds:.2f} s at {timing.fps:.4g} fps",
            advice="labels in seconds are right as they are; where a tool counted frames, label "
            f"anew after ffmpeg -i IN -fps_mode cfr -r {max(1, round(timing.fps))} OUT.mp4",
        )


def _lengths(table: Path, recording: Recording, seconds: float) -> Iterator[Finding]:
    name = recording.path.name
    for row in recording.rows:
        note = row.annotation
        if note.end_seconds > seconds + MAX_BEYOND_SECONDS:
            yield Finding(
                severity=Severity.ERROR,
                code="beyond-end",
                file=table,
                line=row.line,
                text=f"{name}: expected labels within its {seconds:.2f} s, found {note.label!r} "
                f"until {note.end_seconds:g} s",
                advice="shorten it; if all are off, the frame rate was wrong when frames were "
                "counted, or the labels are of another video",
            )
    last = max(note.end_seconds for note in recording.notes)
    if last < MIN_LABELLED_RATIO * seconds:
        yield Finding(
            severity=Severity.WARNING,
            code="length",
            file=table,
            line=recording.line,
            text=f"{name}: labels end at {last:g} s, the video at {seconds:.2f} s",
            advice="label the rest, or cut it off: what is not labelled counts as nothing",
        )


def _unreadable(table: Path, recording: Recording, error: ConfigError) -> Finding:
    return Finding(
        severity=Severity.ERROR,
        code="unreadable",
        file=table,
        line=recording.line,
        text=str(error),
        advice="correct the path, replace the file, or remove its rows",
    )
