"""Corrections by people: rows of the training table, appended to a file.

The heading and the columns are those of `streamer fit --videos`. A row of a file names that file. A
row of a camera names a recording that begins where the camera was opened: whoever keeps one calls
it so, or changes the name.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

HEADING = ("video", "start", "end", "label", "kind", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What was true.

    Attributes:
        video: The file it is of.
        start_seconds: From its first frame.
        end_seconds: From its first frame.
        label: The class.
        kind: `phase` or `action`.
        stream_id: The camera.
    """

    video: str
    start_seconds: float
    end_seconds: float
    label: str
    kind: str
    stream_id: str


def video_of(stream_id: str, url: str, options: dict[str, str], *, origin_ns: int) -> str:
    """The video that a correction is of: a file that is read once, or a recording's name.

    Args:
        stream_id: The camera.
        url: Of the source, without credentials.
        options: Of the source.
        origin_ns: When its first frame was, UTC.
    """
    is_file = "://" not in url and not url.startswith(("synthetic:", "/dev/"))
    if is_file and not url.isdigit() and options.get("loop") != "true":
        return url
    begun = datetime.fromtimestamp(origin_ns // 1_000_000_000, UTC)
    return f"{stream_id}-{begun:%Y%m%dT%H%M%SZ}.mkv"


def append_correction(path: Path, correction: Correction) -> None:
    """Write a row, and the heading before the first. Safe with several writers.

    Raises:
        ConfigError: The file can't be written, or has another heading.
    """
    row = (
        correction.video,
        f"{correction.start_seconds:.3f}",
        f"{correction.end_seconds:.3f}",
        correction.label,
        correction.kind,
        correction.stream_id,
    )
    try:
        with path.open("a+", newline="", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
            file.seek(0)
            found = file.readline().strip()
            if found and found != ",".join(HEADING):
                raise ConfigError(
                    f"gateway.corrections: {path}: expected the heading {','.join(HEADING)}, "
                    f"found {found[:100]!r}; choose another file"
                )
            file.seek(0, os.SEEK_END)
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([row] if found else [HEADING, row])
            file.write(text.getvalue())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"gateway.corrections: {path}: can't be written ({error})") from error
