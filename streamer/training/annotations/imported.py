"""What every importer takes and gives."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from streamer.core.errors import ConfigError
from streamer.training.annotations.annotation import Kind, make_annotation
from streamer.training.annotations.table import Row

if TYPE_CHECKING:
    from streamer.training.annotations.annotation import Annotation, Split

ALL = "*"
"""As a name of phases: every label is one."""
VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What a file of another tool does not say about itself.

    Attributes:
        videos: Folder with the videos; None: beside the file.
        fps: Frames per second, for formats that count frames; None: as the file or video says.
        phases: Labels, or tracks whose labels, are phases; `*` for all. The rest are actions.
        tiers: Of ELAN: which to take; empty: all.
        point_seconds: How long something lasts that was marked as a moment.
        fold: Of MS-TCN: which of its splits.
    """

    videos: Path | None = None
    fps: float | None = None
    phases: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    point_seconds: float = 0.5
    fold: int = 1

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ConfigError(f"fps: expected a number above 0 and up to 1000, found {self.fps:g}")
        if not 0 < self.point_seconds <= 3600:
            raise ConfigError(f"point seconds: expected more than 0, found {self.point_seconds:g}")

    def kind_of(self, label: str, *groups: str) -> Kind:
        """Phase or action. `groups` are the tracks, tiers or categories the label belongs to."""
        named = {ALL, " ".join(label.split()), *(group for group in groups if group)}
        return Kind.PHASE if named & set(self.phases) else Kind.ACTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was in the file.

    Attributes:
        rows: The labels. They stand in no table yet: their line is 0.
        remarks: What a person should know: what was left out or made up.
        features_fps: Rate of the features, where the rows name feature files instead of videos.
        feature_dim: D of those features.
    """

    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()
    features_fps: float | None = None
    feature_dim: int | None = None


@dataclass(slots=True)
class RowCollector:
    """Gathers rows, and names the place of one that can't be.

    Args:
        path: The file they come from, for messages.
        options: Says what is a phase and how long a moment lasts.
    """

    path: Path
    options: ImportOptions
    rows: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    num_points: int = 0

    def add(
        self,
        video: Path,
        label: str,
        start_seconds: float,
        end_seconds: float,
        *,
        place: str,
        track: str = "",
        group: str = "",
        split: Split | None = None,
        kind: Kind | None = None,
    ) -> None:
        """Add a row; a moment (start = end) is given `point_seconds`.

        Args:
            video: The file.
            label: Of the stretch.
            start_seconds: From the first frame.
            end_seconds: From the first frame.
            place: Where in the file it stands, for the message.
            track: Who or what it is of.
            group: Another name that may make it a phase.
            split: What the video is for.
            kind: None: as the options say.

        Raises:
            ConfigError: It is not a labelled stretch of time.
        """
        if start_seconds == end_seconds:
            end_seconds += self.options.point_seconds
            self.num_points += 1
        try:
            note: Annotation = make_annotation(
                label,
                kind or self.options.kind_of(label, track, group),
                start_seconds,
                end_seconds,
                track=track,
            )
        except ValueError as error:
            raise ConfigError(f"{self.path}: {place}: {error}") from None
        self.rows.append(Row(video=video, annotation=note, split=split))

    def finish(self) -> Imported:
        """What was gathered.

        Raises:
            ConfigError: Nothing was.
        """
        if not self.rows:
            raise ConfigError(f"{self.path}: expected labelled stretches of time, found none")
        if self.num_points:
            self.remarks.append(
                f"moments without a length: {self.num_points}, each lasts "
                f"{self.options.point_seconds:g} s now"
            )
        return Imported(rows=tuple(self.rows), remarks=tuple(self.remarks))


def find_video(name: str, *, path: Path, options: ImportOptions) -> Path:
    """The file that an export calls `name`, which may be a path elsewhere, a URL or a bare stem.

    It is looked for in `options.videos`, or beside the export. A file that is not there is named
    all the same: whoever reads it next says that it is missing.

    Raises:
        ConfigError: The name can't be that of a file.
    """
    folder = options.videos or path.parent
    text = name.strip()
    if "://" in text or "?d=" in text:  # Label Studio serves local files as /data/local-files/?d=
        try:
            url = urlsplit(text)
        except ValueError as error:
            raise ConfigError(f"{path}: video {text[:80]!r}: not a URL ({error})") from None
        text = unquote(parse_qs(url.query).get("d", [url.path])[0])
    windows = "\\" in text and "/" not in text
    own = PureWindowsPath(text) if windows else PurePosixPath(text)
    if own.name in ("", "..") or not text.isprintable() or len(own.name.encode()) > 255:
        raise ConfigError(f"{path}: expected the name of a video, found {name[:80]!r}")
    whole = folder / text
    candidates = [whole, folder / own.name]
    candidates += [folder / f"{own.name}{suffix}" for suffix in VIDEO_SUFFIXES]
    for candidate in candidates:
        if os.path.isfile(candidate):  # noqa: PTH113 - never raises, whatever the name
            return candidate
    return folder / own.name
