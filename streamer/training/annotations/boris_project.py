"""BORIS: a project file (`.boris`), JSON.

An event is a list `[time, subject, code, modifiers, comment, …]`; state events stand in it twice,
where they start and where they stop. Which behaviours are states says the ethogram
(`behaviors_conf`). Times run on over the files of a player, one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from streamer.core.errors import ConfigError
from streamer.training.annotations.documents import read_json
from streamer.training.annotations.imported import RowCollector, find_video

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.training.annotations.imported import Imported, ImportOptions

PLAYER = "1"
"""Other players show the same time from other sides."""


class _Behaviour(msgspec.Struct):
    code: str
    type: str
    category: str = ""


class _MediaInfo(msgspec.Struct):
    length: dict[str, float] = {}


class _Observation(msgspec.Struct):
    events: list[list[Any]]
    type: str = ""
    file: Any = None
    media_info: _MediaInfo | None = None
    offset: Any = msgspec.field(name="time offset", default=0)
    media_creation_date_as_offset: bool = False


class _Project(msgspec.Struct):
    observations: dict[str, _Observation]
    behaviors_conf: dict[str, _Behaviour]


def import_boris_project(path: Path, options: ImportOptions) -> Imported:
    """Labels of all observations of media files. Tracks are subjects; categories may be phases.

    Raises:
        ConfigError: It is another file, an event is none, or a state does not stop.
    """
    project = read_json(path, _Project, what="a BORIS project")
    ethogram = {each.code: each for each in project.behaviors_conf.values()}
    collector = RowCollector(path, options)
    for name, observation in project.observations.items():
        if observation.type and observation.type != "MEDIA":
            collector.remarks.append(f"observation {name!r} is {observation.type}: left out")
        elif observation.events:
            _add_observation(collector, name, observation, ethogram)
    return collector.finish()


def _add_observation(
    collector: RowCollector,
    name: str,
    observation: _Observation,
    ethogram: dict[str, _Behaviour],
) -> None:
    place = f"observation {name!r}"
    if observation.offset not in (0, None, "") or observation.media_creation_date_as_offset:
        raise ConfigError(
            f"{collector.path}: {place}: expected no time offset, found one; "
            "set it to 0 in BORIS, so that times count from the video's beginning"
        )
    media = _Media(collector, place, observation)
    open_at: dict[tuple[str, str, str], float] = {}
    events = [_event(collector, place, event) for event in observation.events]
    for time, subject, code, modifiers in sorted(events, key=lambda event: event[0]):
        behaviour = ethogram.get(code)
        if behaviour is None:
            raise ConfigError(
                f"{collector.path}: {place}, {time:g} s: {code!r} is not in the ethogram"
            )
        key = (subject, code, modifiers)
        if behaviour.type.lower().startswith("state"):
            if key not in open_at:
                open_at[key] = time
                continue
            start = open_at.pop(key)
        else:
            start = time
        video, begin = media.file_at(start)
        collector.add(
            video,
            code,
            start - begin,
            time - begin,
            place=f"{place}, {start:g} s",
            track=subject,
            group=behaviour.category,
        )
    for (_, code, _), time in open_at.items():
        raise ConfigError(
            f"{collector.path}: {place}: {code!r} starts at {time:g} s and does not stop; "
            "add the stop in BORIS"
        )


class _Media:
    """The files of the first player, end to end."""

    def __init__(self, collector: RowCollector, place: str, observation: _Observation) -> None:
        files = observation.file.get(PLAYER) if isinstance(observation.file, dict) else None
        if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
            files = []
        if not files:
            raise ConfigError(f"{collector.path}: {place}: expected a media file, found none")
        lengths = {} if observation.media_info is None else observation.media_info.length
        self._spans = []
        begin = 0.0
        for index, name in enumerate(files):
            video = find_video(name, path=collector.path, options=collector.options)
            self._spans.append((begin, video))
            if index < len(files) - 1:
                if not lengths.get(name, 0) > 0:
                    raise ConfigError(
                        f"{collector.path}: {place}: expected the length of {name!r}, found none"
                    )
                begin += lengths[name]

    def file_at(self, seconds: float) -> tuple[Path, float]:
        """The file that is played then, and when it began."""
        begin, video = [span for span in self._spans if span[0] <= max(0.0, seconds)][-1]
        return video, begin


def _event(collector: RowCollector, place: str, event: list[Any]) -> tuple[float, str, str, str]:
    """(time, subject, code, modifiers)."""
    match event:
        case [bool(), *_]:
            pass
        case [int() | float() as time, str() as subject, str() as code, *rest]:
            return float(time), subject, code, str(rest[0]) if rest else ""
    raise ConfigError(
        f"{collector.path}: {place}: expected an event [time, subject, code, …], "
        f"found {str(event)[:60]}"
    )
