"""ActivityNet: the JSON file of its releases, which THUMOS, HACS and others share.

`database` has per video `subset` (`training`, `validation`, `testing`), `duration` and
`annotations`, each with `segment` `[start, end]` in seconds and `label`. Videos are called
`v_ID.mp4` or `ID.mp4`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from streamer.core.errors import ConfigError
from streamer.training.annotations.annotation import Split
from streamer.training.annotations.documents import read_json
from streamer.training.annotations.imported import RowCollector, find_video

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.training.annotations.imported import Imported, ImportOptions

SUBSETS = {
    "training": Split.TRAIN,
    "train": Split.TRAIN,
    "validation": Split.VALIDATION,
    "val": Split.VALIDATION,
    "testing": Split.TEST,
    "test": Split.TEST,
}


class _Segment(msgspec.Struct):
    segment: tuple[float, float]
    label: str


class _Video(msgspec.Struct):
    annotations: list[_Segment] = []
    subset: str = ""
    duration: float | None = None


class _Release(msgspec.Struct):
    database: dict[str, _Video]


def import_activitynet(path: Path, options: ImportOptions) -> Imported:
    """Labels and splits of a release. Segments without a length are left out, and counted.

    Raises:
        ConfigError: It is another file, or has an unknown subset.
    """
    release = read_json(path, _Release, what="a release of ActivityNet with a `database`")
    collector = RowCollector(path, options)
    unlabelled = empty = 0
    for name, video in release.database.items():
        if video.subset.lower() not in {*SUBSETS, ""}:
            raise ConfigError(
                f"{path}: {name}: expected a subset of {', '.join(SUBSETS)}, found {video.subset!r}"
            )
        unlabelled += not video.annotations
        file = _file(name, path, options)
        for index, note in enumerate(video.annotations):
            start, end = note.segment
            if start == end:
                empty += 1
                continue
            collector.add(
                file,
                note.label,
                start,
                end,
                place=f"{name}, segment {index + 1}",
                split=SUBSETS.get(video.subset.lower()),
            )
    if unlabelled:
        collector.remarks.append(f"videos without labels, left out: {unlabelled}")
    if empty:
        collector.remarks.append(f"segments without a length, left out: {empty}")
    return collector.finish()


def _file(name: str, path: Path, options: ImportOptions) -> Path:
    plain = find_video(name, path=path, options=options)
    if os.path.isfile(plain):  # noqa: PTH113 - never raises, whatever the name
        return plain
    prefixed = find_video(f"v_{name}", path=path, options=options)
    return prefixed if os.path.isfile(prefixed) else plain  # noqa: PTH113
