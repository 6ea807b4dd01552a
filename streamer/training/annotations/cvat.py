"""CVAT: the export `CVAT for video 1.1`, an XML file with tracks.

https://docs.cvat.ai/docs/manual/advanced/xml_format/ A track is there from a shape that is not
`outside` until the next one that is. Frames are those of the video, from 0. The file says no frame
rate, so it comes from the video, or has to be given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations.documents import read_xml
from streamer.training.annotations.imported import RowCollector, find_video
from streamer.training.timing import read_timing

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from streamer.training.annotations.imported import Imported, ImportOptions

SHAPES = ("box", "polygon", "polyline", "points", "mask", "skeleton", "ellipse", "cuboid")
FILE_NAME = "annotations.xml"


def import_cvat(path: Path, options: ImportOptions) -> Imported:
    """Labels of a task or project: a stretch wherever a track is visible.

    Args:
        path: The XML file, or the folder the download was unpacked to.
        options: `fps` where the videos are not at hand.

    Raises:
        ConfigError: It is another file, or the frame rate is not known.
    """
    path = path / FILE_NAME if path.is_dir() else path
    root = read_xml(path, "annotations", what="CVAT's export `CVAT for video 1.1`")
    if root.find("image") is not None and root.find("track") is None:
        raise ConfigError(
            f"{path}: expected `CVAT for video 1.1`, found `CVAT for images`; export it anew"
        )
    collector = RowCollector(path, options)
    sources = _sources(root)
    rates: dict[Path, float] = {}
    for track in root.iter("track"):
        name = _source_of(path, track, sources)
        video = find_video(name, path=path, options=options)
        if video not in rates:
            rates[video] = options.fps or _video_fps(path, video)
        track_id = track.get("id", "?")
        for start, end in _visible(path, track):
            collector.add(
                video,
                track.get("label", ""),
                start / rates[video],
                end / rates[video],
                place=f"track {track_id}",
                track=f"{track.get('label', '')} {track_id}",
                group=track.get("label", ""),
            )
    return collector.finish()


def _sources(root: Element) -> dict[str, str]:
    """Names of the videos by the id of their task. Of a task's own export: by an empty id too."""
    tasks = root.findall("./meta/task") + root.findall("./meta/project/tasks/task")
    tasks += root.findall("./meta/job")
    sources = {}
    for task in tasks:
        source = task.findtext("source") or root.findtext("./meta/source") or ""
        if source.strip():
            sources[(task.findtext("id") or "").strip()] = source.strip()
    if len(set(sources.values())) == 1:
        sources[""] = next(iter(sources.values()))
    return sources


def _source_of(path: Path, track: Element, sources: dict[str, str]) -> str:
    name = sources.get(track.get("task_id", "")) or sources.get("") or track.get("source_name")
    if not name:
        raise ConfigError(
            f"{path}: track {track.get('id', '?')}: expected the video's name in <meta><source>, "
            "found none; export a task made of one video, not of pictures"
        )
    return name


def _visible(path: Path, track: Element) -> list[tuple[int, int]]:
    """Frames in which a track is visible, end exclusive."""
    shapes = sorted(
        (_frame(path, track, shape), _is_outside(shape)) for shape in track if shape.tag in SHAPES
    )
    stretches: list[tuple[int, int]] = []
    begin: int | None = None
    for frame, outside in shapes:
        if outside and begin is not None:
            stretches.append((begin, frame))
            begin = None
        elif not outside and begin is None:
            begin = frame
    if begin is not None:
        stretches.append((begin, shapes[-1][0] + 1))
    return stretches


def _frame(path: Path, track: Element, shape: Element) -> int:
    text = shape.get("frame", "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(
            f"{path}: track {track.get('id', '?')}: expected a frame number, found {text[:40]!r}"
        )
    return int(text)


def _is_outside(shape: Element) -> bool:
    """A skeleton is outside when all its points are."""
    if shape.tag == "skeleton":
        return all(point.get("outside") == "1" for point in shape)
    return shape.get("outside") == "1"


def _video_fps(path: Path, video: Path) -> float:
    try:
        return read_timing(video).fps
    except ConfigError as error:
        raise ConfigError(
            f"{path}: counts frames and says no rate; give --fps, or --videos with the folder of "
            f"the videos ({error})"
        ) from None
