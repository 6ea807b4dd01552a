"""What kind of place a URL names, and how FFmpeg is told to open it."""

from __future__ import annotations

import re
from enum import StrEnum

from streamer.core.errors import ConfigError
from streamer.sources.credentials import redact

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_DEVICE = re.compile(r"/dev/video\d+")
EXPECTED = (
    "rtsp://, rtsps://, http://, https://, a webcam (0 or /dev/video0), a file, a glob, "
    "a .streams list or synthetic:NAME"
)


class Origin(StrEnum):
    """Where pictures come from."""

    FILE = "file"
    RTSP = "rtsp"
    HTTP = "http"
    """HLS, multipart JPEG, or a file on a web server."""
    DEVICE = "device"
    """A webcam through Video4Linux."""


class Transport(StrEnum):
    """What carries an RTSP camera's pictures."""

    TCP = "tcp"
    """Nothing is lost; a bad network shows as delay."""
    UDP = "udp"
    """No delay; a bad network shows as damaged or missing pictures."""


def origin_of(url: str) -> Origin:
    """The kind of a URL or path.

    Raises:
        ConfigError: The scheme is not known.
    """
    match = _SCHEME.match(url)
    if match is None:
        return Origin.DEVICE if _DEVICE.fullmatch(url) else Origin.FILE
    scheme = match["scheme"].lower()
    if scheme in {"rtsp", "rtsps"}:
        return Origin.RTSP
    if scheme in {"http", "https"}:
        return Origin.HTTP
    raise ConfigError(f"{redact(url)}: unknown scheme {scheme}://; expected one of: {EXPECTED}")
