"""Label Studio: the export `JSON` of a project with videos.

A result of type `timelinelabels` counts frames from 1 and holds until the end of its last frame;
`labels` and `timeserieslabels` (a timeline of audio or of signals, side by side with the video)
count seconds; `videorectangle` is there from one enabled key frame to the one that ends it. The
tag `<Video framerate=…>` of the project says how long a frame is; the export repeats it only for
rectangles (`framesCount` and `duration`), so it has to be given for timelines.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.core.errors import ConfigError
from streamer.training.annotations.documents import read_json
from streamer.training.annotations.imported import (
    VIDEO_SUFFIXES,
    ImportOptions,
    RowCollector,
    find_video,
)

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.training.annotations.imported import Imported

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""


class _Range(msgspec.Struct):
    start: float
    end: float


class _Key(msgspec.Struct):
    frame: float
    enabled: bool = True


class _Value(msgspec.Struct):
    ranges: list[_Range] = []
    timelinelabels: list[str] = []
    timeserieslabels: list[str] = []
    labels: list[str] = []
    sequence: list[_Key] = []
    start: Any = None
    end: Any = None
    framesCount: float | None = None
    duration: float | None = None


class _Result(msgspec.Struct):
    type: str = ""
    value: _Value | None = None
    id: str = ""
    from_name: str = ""


class _Annotation(msgspec.Struct):
    result: list[_Result] = []
    was_cancelled: bool = False
    ground_truth: bool = False
    updated_at: str = ""


class _Task(msgspec.Struct):
    data: dict[str, Any]
    annotations: list[_Annotation]
    id: int = 0
    file_upload: str | None = None


def import_label_studio(path: Path, options: ImportOptions) -> Imported:
    """Labels of a project. The track is the name of the labelling tag.

    Of several annotations of a task the ground truth is taken, else the newest.

    Raises:
        ConfigError: It is another file, or does not say how long a frame is.
    """
    tasks = read_json(
        path, list[_Task], what="Label Studio's export of the kind JSON (not JSON-MIN)"
    )
    collector = RowCollector(path, options)
    unlabelled = 0
    for task in tasks:
        done = [note for note in task.annotations if note.result and not note.was_cancelled]
        if not done:
            unlabelled += 1
            continue
        chosen = max(done, key=lambda note: (note.ground_truth, note.updated_at))
        if len(done) > 1:
            collector.remarks.append(f"task {task.id}: took one of {len(done)} annotations")
        _add_task(collector, task, chosen)
    if unlabelled:
        collector.remarks.append(f"tasks without an annotation, left out: {unlabelled}")
    return collector.finish()


def _add_task(collector: RowCollector, task: _Task, annotation: _Annotation) -> None:
    video = _find(collector, _video_name(collector, task))
    fps = _fps(collector, task, annotation)
    for result in annotation.result:
        value = result.value
        if value is None:
            continue
        place = f"task {task.id}, result {result.id!r}"
        labels = value.timelinelabels or value.timeserieslabels or value.labels
        for label in labels:
            for start, end in _stretches(result.type, value, fps, collector, place):
                collector.add(video, label, start, end, place=place, track=result.from_name)


def _stretches(
    kind: str, value: _Value, fps: float | None, collector: RowCollector, place: str
) -> list[tuple[float, float]]:
    """(start, end) in seconds."""
    if kind == "timelinelabels":
        frames = [(each.start - 1, each.end) for each in value.ranges]
    elif kind == "videorectangle":
        frames = _visible(value.sequence, last=value.framesCount)
    elif isinstance(value.start, int | float) and isinstance(value.end, int | float):
        return [(float(value.start), float(value.end))]
    elif value.start is None and value.end is None:
        return []  # a label of the whole video, or of a region without time
    else:
        raise ConfigError(
            f"{collector.path}: {place}: expected start and end in seconds, found {value.start!r}; "
            "label a time axis that counts seconds from the video's beginning"
        )
    if fps is None:
        raise ConfigError(
            f"{collector.path}: {place}: counts frames, and the export does not say how long one "
            "is; give --fps as in the project's <Video framerate=…> (24 if it has none)"
        )
    return [(start / fps, end / fps) for start, end in frames]


def _visible(sequence: list[_Key], *, last: float | None) -> list[tuple[float, float]]:
    """Frames from 0, end exclusive, in which a rectangle is there: until a key that is not enabled.

    A key that is not enabled is the last frame on which the rectangle is shown.
    """
    stretches, begin, end = [], None, 0.0
    for key in sorted(sequence, key=lambda each: each.frame):
        begin, end = key.frame if begin is None else begin, key.frame
        if not key.enabled:
            stretches.append((begin - 1, end))
            begin = None
    if begin is not None:
        stretches.append((begin - 1, max(end, last or end)))
    return stretches


def _fps(collector: RowCollector, task: _Task, annotation: _Annotation) -> float | None:
    if collector.options.fps is not None:
        return collector.options.fps
    own = task.data.get("fps")
    found = [own] if isinstance(own, int | float) and not isinstance(own, bool) else []
    values = [result.value for result in annotation.result if result.value is not None]
    found += [v.framesCount / v.duration for v in values if v.framesCount and v.duration]
    if not found:
        return None
    try:
        return replace(collector.options, fps=float(found[0])).fps
    except ConfigError as error:
        raise ConfigError(f"{collector.path}: task {task.id}: {error}") from None


def _video_name(collector: RowCollector, task: _Task) -> str:
    texts = {key: text for key, text in task.data.items() if isinstance(text, str)}
    videos = [text for text in texts.values() if text.lower().endswith(VIDEO_SUFFIXES)]
    name = texts.get("video") or (videos[0] if len(videos) == 1 else "")
    if not name:
        raise ConfigError(
            f"{collector.path}: task {task.id}: expected a video in its data, found "
            f"{', '.join(sorted(texts)) or 'nothing'}"
        )
    return name


def _find(collector: RowCollector, name: str) -> Path:
    """The video, as it was called before it was uploaded, or as Label Studio keeps it."""
    video = find_video(name, path=collector.path, options=collector.options)
    if "/upload/" not in name or os.path.isfile(video):  # noqa: PTH113 - never raises
        return video
    own = UPLOAD_PREFIX.sub("", video.name)
    return find_video(own, path=collector.path, options=collector.options)
