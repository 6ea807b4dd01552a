"""What is true in a video: labelled stretches of time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a label is."""

    PHASE = "phase"
    """One at a time."""
    ACTION = "action"
    """Any number at a time."""


class Split(StrEnum):
    """What a video is for."""

    TRAIN = "train"
    """To learn from."""
    VALIDATION = "validation"
    """To stop in time, and to fit the decoder."""
    TEST = "test"
    """To measure on, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A label that holds from `start_seconds` until just before `end_seconds`.

    Attributes:
        label: Name of the class.
        kind: See `Kind`.
        start_seconds: From the first frame of the video.
        end_seconds: From the first frame of the video.
        track: Who or what it is of: a tier, a tracked object, a subject. Empty where nobody said.
    """

    label: str
    kind: Kind
    start_seconds: float
    end_seconds: float
    track: str = ""


def make_annotation(
    label: str, kind: Kind, start_seconds: float, end_seconds: float, *, track: str = ""
) -> Annotation:
    """An annotation from what a person or a tool wrote. White space is made single.

    Raises:
        ValueError: There is no label, or the times are not 0 <= start < end.
    """
    label = " ".join(label.split())
    if not label:
        raise ValueError("label: expected a value, found none")
    if not (math.isfinite(start_seconds) and math.isfinite(end_seconds)):
        raise ValueError(f"expected finite seconds, found {start_seconds} and {end_seconds}")
    if not 0 <= start_seconds < end_seconds:
        raise ValueError(
            f"expected 0 <= start < end, found start {start_seconds:g} and end {end_seconds:g}"
        )
    return Annotation(
        label=label,
        kind=kind,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        track=" ".join(track.split()),
    )
