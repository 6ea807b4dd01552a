"""streamer watches live cameras and says, online, what is happening now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.version import VERSION as __version__

if TYPE_CHECKING:
    from streamer.core.event import Event
    from streamer.pipeline import Pipeline

__all__ = ["Event", "Pipeline", "__version__"]


def __getattr__(name: str) -> object:
    # Imported on demand: `import streamer` alone must stay quick for the command line.
    if name == "Pipeline":
        from streamer.pipeline import Pipeline

        return Pipeline
    if name == "Event":
        from streamer.core.event import Event

        return Event
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
