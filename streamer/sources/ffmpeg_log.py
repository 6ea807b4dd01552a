"""What FFmpeg says while it works. PyAV keeps it silent; this lets it be heard."""

from __future__ import annotations

import logging

import av.logging

from streamer.sources.credentials import redact

LOGGER = logging.getLogger("streamer.sources.ffmpeg")


class _Redacting(logging.Handler):
    """Passes records on to `LOGGER`, without credentials."""

    def emit(self, record: logging.LogRecord) -> None:
        LOGGER.log(record.levelno, "%s", redact(record.getMessage().rstrip()))


def enable_ffmpeg_log() -> None:
    """Send FFmpeg's messages to the logger `streamer.sources.ffmpeg`. For debugging only.

    For the whole process, and not undone. Each message takes the interpreter's lock, so it costs
    time in every camera's thread.
    """
    raw = logging.getLogger("libav")
    if not any(isinstance(handler, _Redacting) for handler in raw.handlers):
        raw.addHandler(_Redacting())
    raw.propagate = False
    raw.setLevel(logging.DEBUG)
    av.logging.set_level(av.logging.VERBOSE)
