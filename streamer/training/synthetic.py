"""Clips of a rendered scene, half of them through H.264 as a camera would send them."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from streamer.core.errors import ConfigError
from streamer.sources.av import AvSource
from streamer.sources.recording import record
from streamer.sources.synthetic import SyntheticSource
from streamer.sources.workcell import ACTIONS, PHASES
from streamer.training.annotations import Annotation, Kind, Labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.core.clock import Clock
    from streamer.sources.source import Source

FORMS: tuple[tuple[int, int, float, int | None], ...] = (
    (320, 240, 10.0, None),
    (640, 360, 25.0, 23),
    (640, 360, 10.0, None),
    (320, 240, 15.0, 28),
    (320, 240, 25.0, None),
    (640, 360, 12.5, 33),
    (640, 360, 25.0, None),
    (320, 240, 25.0, 23),
)
"""(width, height, fps, H.264 quality or None for no compression), taken in turn."""


_LABELS = {"workcell": Labels(PHASES, ACTIONS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticClip:
    """A stretch of a scene from its beginning.

    Attributes:
        scene: As in `synthetic:NAME`.
        seed: Which one.
        seconds: Length.
        width: Pixels.
        height: Pixels.
        fps: Frames per second of the source, before sampling.
        crf: H.264 quality, 0 (best) to 51; None: not compressed.
    """

    scene: str
    seed: int
    seconds: float
    width: int
    height: int
    fps: float
    crf: int | None

    @property
    def name(self) -> str:
        """For people."""
        coding = "rendered" if self.crf is None else f"h264 crf {self.crf}"
        return f"{self.scene} seed {self.seed}, {self.width}x{self.height}, {coding}"

    @property
    def compressed(self) -> bool:
        """Whether it went through H.264."""
        return self.crf is not None

    def annotations(self, clock: Clock) -> list[Annotation]:
        """What is true in it."""
        return [
            Annotation(
                label=truth.label,
                kind=Kind(truth.kind),
                start_seconds=truth.start_seconds,
                end_seconds=truth.end_seconds,
            )
            for truth in self._render(clock).scene.script.truth(self.seconds)
        ]

    def fingerprint(self, clock: Clock) -> str:
        """Digest of what it shows. It changes when the scene's code draws or acts otherwise."""
        digest = hashlib.sha256(msgspec.json.encode(asdict(self)))
        digest.update(msgspec.json.encode(self.annotations(clock)))
        scene = self._render(clock).scene
        for part in (0.0, 0.37, 0.83):
            digest.update(scene.render(part * self.seconds).tobytes())
        return digest.hexdigest()

    @contextmanager
    def source(self, clock: Clock) -> Iterator[Source]:
        """The clip as a source, closed afterwards."""
        if self.crf is None:
            yield self._render(clock)
            return
        with TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            record(
                path,
                seconds=self.seconds,
                name=self.scene,
                seed=self.seed,
                fps=self.fps,
                width=self.width,
                height=self.height,
                crf=self.crf,
            )
            yield AvSource(str(path), clock=clock)

    def _render(self, clock: Clock) -> SyntheticSource:
        return SyntheticSource(
            self.scene,
            seed=self.seed,
            fps=self.fps,
            width=self.width,
            height=self.height,
            seconds=self.seconds,
            realtime=False,
            clock=clock,
        )


def make_clips(
    scene: str, *, first_seed: int, num_seeds: int, seconds: float
) -> list[SyntheticClip]:
    """One clip per seed, in the forms of `FORMS`."""
    clips = []
    for index in range(num_seeds):
        width, height, fps, crf = FORMS[index % len(FORMS)]
        clips.append(
            SyntheticClip(
                scene=scene,
                seed=first_seed + index,
                seconds=seconds,
                width=width,
                height=height,
                fps=fps,
                crf=crf,
            )
        )
    return clips


def scene_labels(scene: str) -> Labels:
    """The classes of a scene.

    Raises:
        ConfigError: No such scene.
    """
    if scene not in _LABELS:
        raise ConfigError(f"scene: expected one of {', '.join(_LABELS)}, found {scene!r}")
    return _LABELS[scene]
