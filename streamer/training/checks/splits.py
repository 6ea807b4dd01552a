"""Findings in the parts of a dataset: too little, leaks from one part to another, imbalance."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

from streamer.training.annotations.annotation import Split
from streamer.training.checks.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from streamer.training.annotations.table import Row, Table
    from streamer.training.recording import Recording

MAX_IMBALANCE = 100.0
"""Seconds of the commonest class per second of the rarest."""
MIN_STRETCHES = 5
"""A class that occurs less often teaches little."""


def check_splits(table: Table, recordings: Sequence[Recording]) -> Iterator[Finding]:
    """Findings in how the videos are dealt out."""
    yield from _one_value_per_video(table)
    yield from _leaks(table.path, recordings)


def check_training(table: Table, recordings: Sequence[Recording]) -> Iterator[Finding]:
    """Findings in what there is to learn from."""
    named = {recording.split for recording in recordings}
    parts = [Split.TRAIN, *(s for s in (Split.VALIDATION, Split.TEST) if s not in named)]
    free = [each for each in recordings if each.split in (None, Split.TRAIN)]
    sources = {recording.group for recording in free}
    if len(sources) < len(parts):
        yield Finding(
            severity=Severity.ERROR,
            code="too-few",
            file=table.path,
            text=f"expected at least {_videos(len(parts))} for {', '.join(parts)}, "
            f"found {_videos(len(free))} of {len(sources)} different sources",
            advice="label more",
        )
    yield from _classes(table.path, recordings)


def _videos(count: int) -> str:
    return f"{count} video{'' if count == 1 else 's'}"


def _one_value_per_video(table: Table) -> Iterator[Finding]:
    first: dict[Path, Row] = {}
    told = set()
    for row in table.rows:
        known = first.setdefault(row.video, row)
        same = (row.split, row.source) == (known.split, known.source)
        if not same and row.video not in told:
            told.add(row.video)
            yield Finding(
                severity=Severity.ERROR,
                code="split-unclear",
                file=table.path,
                line=row.line,
                text=f"{row.video.name}: expected the same split and source in all its rows, "
                f"found others in line {known.line}",
                advice="give all rows of a video the same",
            )
    without = [row for row in first.values() if row.split is None]
    if without and len(without) < len(first):
        yield Finding(
            severity=Severity.ERROR,
            code="split-unclear",
            file=table.path,
            line=without[0].line,
            text=f"{without[0].video.name}: expected a split, as other videos have, found none",
            advice="give every video a split, or none",
        )


def _leaks(path: Path, recordings: Sequence[Recording]) -> Iterator[Finding]:
    by_source: dict[str, Recording] = {}
    for recording in recordings:
        known = by_source.setdefault(recording.group, recording)
        if known.split is not recording.split:
            yield _leak(path, known, recording, f"both are of the source {recording.group!r}")
    by_content: dict[str, Recording] = {}
    for recording in _of_equal_size(recordings):
        with recording.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        known = by_content.setdefault(digest, recording)
        if known is not recording and known.group != recording.group:
            if known.split is not recording.split:
                yield _leak(path, known, recording, "both files have the same content")
            else:
                yield Finding(
                    severity=Severity.ERROR if recording.split is None else Severity.WARNING,
                    code="split-leak",
                    file=path,
                    line=recording.line,
                    text=f"{recording.path.name} has the same content as {known.path.name} "
                    f"(line {known.line})",
                    advice="remove one, or give both the same source",
                )


def _leak(path: Path, known: Recording, other: Recording, why: str) -> Finding:
    return Finding(
        severity=Severity.ERROR,
        code="split-leak",
        file=path,
        line=other.line,
        text=f"{other.path.name} is for {other.split or 'any part'}, {known.path.name} (line "
        f"{known.line}) for {known.split or 'any part'}, but {why}",
        advice="give both the same split",
    )


def _of_equal_size(recordings: Sequence[Recording]) -> list[Recording]:
    """Those that may have the same content as another: nothing else is worth reading whole."""
    by_size = defaultdict(list)
    for recording in recordings:
        if recording.path.is_file():
            by_size[recording.path.stat().st_size].append(recording)
    return [each for same in by_size.values() if len(same) > 1 for each in same]


def _classes(path: Path, recordings: Sequence[Recording]) -> Iterator[Finding]:
    """Classes that the training part lacks, and classes that are rare."""
    rows = [row for recording in recordings for row in recording.rows]
    seconds: dict[str, float] = defaultdict(float)
    stretches: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        note = row.annotation
        seconds[note.label] += note.end_seconds - note.start_seconds
        stretches[note.label].append(row)
    most = max(seconds.values(), default=0.0)
    has_split = any(row.split is not None for row in rows)
    for label, found in sorted(stretches.items()):
        sources = {row.source or str(row.video) for row in found}
        if has_split and not any(row.split is Split.TRAIN for row in found):
            yield Finding(
                severity=Severity.ERROR,
                code="empty-class",
                file=path,
                line=found[0].line,
                text=f"label {label!r}: expected it in the part to train on, found it elsewhere",
                advice="move a video that has it to train",
            )
            continue
        if len(sources) == 1:
            what, advice = "occurs in one video only", "label it in others too"
        elif len(found) < MIN_STRETCHES:
            what, advice = f"occurs {len(found)} times only", "label more of it"
        elif most > MAX_IMBALANCE * seconds[label]:
            what = f"holds {seconds[label]:.1f} s in all, the commonest label {most:.0f} s"
            advice = "label more of it, or make one of several rare labels"
        else:
            continue
        yield Finding(
            severity=Severity.WARNING,
            code="imbalance",
            file=path,
            line=found[0].line,
            text=f"label {label!r} {what}",
            advice=advice,
        )
