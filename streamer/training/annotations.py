"""What is true in a video: labelled stretches of time, and the CSV file they come from."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

REQUIRED = ("video", "start", "end", "label")
OPTIONAL = ("kind",)
BACKGROUND = "background"
"""The phase of frames that no annotated phase covers."""
MAX_OVERLAP_SECONDS = 0.05
"""Neighbouring phases may overlap so far: annotation tools round."""


class Kind(StrEnum):
    """What a label is."""

    PHASE = "phase"
    """One at a time."""
    ACTION = "action"
    """Any number at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A label that holds from `start_seconds` until just before `end_seconds`."""

    label: str
    kind: Kind
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes, in the order of the model's outputs: phases, then actions."""

    phases: tuple[str, ...]
    actions: tuple[str, ...]

    def targets(
        self, annotations: Iterable[Annotation], pts_T: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the model is to say at each time.

        Args:
            annotations: Of one video.
            pts_T: Presentation times, seconds.

        Returns:
            int64 (T,) index of the phase, where no phase holds that of `BACKGROUND`, or -1 if there
            is no such phase; and float32 (T, A), 1 where an action holds.
        """
        rest = self.phases.index(BACKGROUND) if BACKGROUND in self.phases else -1
        phases_T = np.full(len(pts_T), rest, np.int64)
        actions_TA = np.zeros((len(pts_T), len(self.actions)), np.float32)
        for note in annotations:
            held = (pts_T >= note.start_seconds) & (pts_T < note.end_seconds)
            if note.kind is Kind.PHASE:
                phases_T[held] = self.phases.index(note.label)
            else:
                actions_TA[held, self.actions.index(note.label)] = 1.0
        return phases_T, actions_TA


def read_annotations(path: Path) -> dict[Path, list[Annotation]]:
    """Annotations by video, from a CSV file with a heading.

    Columns `video,start,end,label`: the video's path (relative to the CSV file), seconds, and the
    label. An optional column `kind` says `phase` (the default) or `action`.

    Raises:
        ConfigError: The file can't be read, or a row is not what it should be.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: can't read the annotations ({error})") from error
    columns = tuple(rows[0]) if rows else ()
    if not set(REQUIRED) <= set(columns) or set(columns) - {*REQUIRED, *OPTIONAL}:
        raise ConfigError(
            f"{path}: expected rows below a heading {','.join(REQUIRED)} (and perhaps kind), "
            f"found {','.join(map(str, columns)) or 'no rows'}"
        )
    by_video: dict[Path, list[Annotation]] = {}
    for number, row in enumerate(rows, start=2):
        try:
            video, annotation = path.parent / _text(row, "video"), _annotation(row)
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
        by_video.setdefault(video, []).append(annotation)
    for video, notes in by_video.items():
        notes.sort(key=lambda note: note.start_seconds)
        _check_phases(path, video, notes)
    return by_video


def find_labels(by_video: Mapping[Path, Sequence[Annotation]]) -> Labels:
    """The classes that occur, sorted.

    Raises:
        ConfigError: A label is a phase here and an action there.
    """
    notes = [note for annotations in by_video.values() for note in annotations]
    phases = sorted({note.label for note in notes if note.kind is Kind.PHASE})
    actions = sorted({note.label for note in notes if note.kind is Kind.ACTION})
    if both := set(phases) & set(actions):
        raise ConfigError(f"label {min(both)!r}: expected one kind, found it as phase and action")
    return Labels(tuple(phases), tuple(actions))


def _annotation(row: Mapping[str, str | None]) -> Annotation:
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if not 0 <= start < end:
        raise ValueError(f"expected 0 <= start < end, found start {start:g} and end {end:g}")
    kind = (row.get("kind") or Kind.PHASE).strip()
    if kind not in tuple(Kind):
        raise ValueError(f"kind: expected phase or action, found {kind!r}")
    return Annotation(
        label=_text(row, "label"), kind=Kind(kind), start_seconds=start, end_seconds=end
    )


def _text(row: Mapping[str, str | None], column: str) -> str:
    text = (row[column] or "").strip()
    if not text:
        raise ValueError(f"{column}: expected a value, found none")
    return text


def _seconds(row: Mapping[str, str | None], column: str) -> float:
    text = _text(row, column)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{column}: expected seconds, found {text!r}")
    return seconds


def _check_phases(path: Path, video: Path, notes: Sequence[Annotation]) -> None:
    for before, after in pairwise(note for note in notes if note.kind is Kind.PHASE):
        if after.start_seconds < before.end_seconds - MAX_OVERLAP_SECONDS:
            raise ConfigError(
                f"{path}: {video.name}: expected one phase at a time, found {before.label!r} until "
                f"{before.end_seconds:g} s and {after.label!r} from {after.start_seconds:g} s; "
                f"give what may overlap the kind action"
            )
