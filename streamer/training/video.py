"""Clips of a user's own video files."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.sources.av import AvSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamer.core.clock import Clock
    from streamer.sources.source import Source
    from streamer.training.annotations import Annotation


@dataclass(frozen=True, slots=True)
class VideoClip:
    """A video file and what is true in it."""

    path: Path
    notes: tuple[Annotation, ...]
    compressed: bool = True

    @property
    def name(self) -> str:
        """For people."""
        return self.path.name

    def annotations(self, clock: Clock) -> list[Annotation]:
        """What is true in it."""
        return list(self.notes)

    def fingerprint(self, clock: Clock) -> str:
        """Digest of the file's content.

        Raises:
            ConfigError: It can't be read.
        """
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"{self.path}: can't read the video ({error.strerror})") from error

    @contextmanager
    def source(self, clock: Clock) -> Iterator[Source]:
        """The file as a source."""
        yield AvSource(str(self.path), clock=clock)
