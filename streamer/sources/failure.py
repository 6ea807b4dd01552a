"""FFmpeg's errors as `SourceError`s: a reason word, and whether a retry makes sense.

The text of an FFmpeg error holds the URL with its password, so it is never quoted, and the error
is never chained (`raise … from None`).
"""

from __future__ import annotations

from av import error as av_error

from streamer.core.errors import SourceError
from streamer.sources.origin import Origin

_REASONS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((av_error.HTTPUnauthorizedError, av_error.HTTPForbiddenError), "unauthorized"),
    ((av_error.PermissionError,), "unauthorized"),
    ((av_error.FileNotFoundError, av_error.HTTPNotFoundError), "not_found"),
    ((av_error.ConnectionRefusedError, av_error.HTTPError), "refused"),
    ((av_error.TimeoutError, av_error.ExitError), "timeout"),
    ((av_error.InvalidDataError,), "corrupt"),
    ((av_error.LookupError, av_error.PatchWelcomeError), "unsupported"),
    ((av_error.NotImplementedError, av_error.IsADirectoryError), "unsupported"),
)
_FINAL = frozenset({"unauthorized", "unsupported", "no_video"})
"""No retry mends these, wherever they come from."""
_HINTS = {
    "unauthorized": "check the user name and password, or the permissions of the file",
    "not_found": "check the path",
    "refused": "check the address and the port, and that it is switched on",
    "timeout": "check the network and that it is sending",
    "corrupt": "play it with another program to see whether it is damaged",
    "unsupported": "convert it, or set the camera, to H.264",
    "no_video": "expected at least one video track",
    "disconnected": "it ended the connection",
}


def source_error(name: str, *, reason: str, found: str, origin: Origin) -> SourceError:
    """An error with the usual hint.

    Args:
        name: The source, without credentials.
        reason: One of `not_found`, `refused`, `unauthorized`, `timeout`, `no_video`, `corrupt`,
            `unsupported`, `disconnected`.
        found: What happened.
        origin: A camera may come back; a file does not change by itself.
    """
    retryable = origin is not Origin.FILE and reason not in _FINAL
    return SourceError(f"{name}: {found}; {_HINTS[reason]}", retryable=retryable, reason=reason)


def open_error(
    error: av_error.FFmpegError, *, name: str, origin: Origin, timed_out: bool
) -> SourceError:
    """Why it could not be opened.

    Args:
        error: What FFmpeg says. An interrupted handshake looks like any error to it.
        name: The source, without credentials.
        origin: What it is.
        timed_out: Whether the deadline had passed by then.
    """
    reason = "timeout" if timed_out else _reason(error, otherwise="refused")
    return _translated(error, reason=reason, name=name, origin=origin, doing="can't be opened")


def read_error(
    error: av_error.FFmpegError, *, name: str, origin: Origin, timed_out: bool
) -> SourceError:
    """Why it broke while it was read. Arguments as of `open_error`."""
    reason = "timeout" if timed_out else _reason(error, otherwise="disconnected")
    return _translated(error, reason=reason, name=name, origin=origin, doing="broke off")


def _reason(error: av_error.FFmpegError, *, otherwise: str) -> str:
    return next((word for kinds, word in _REASONS if isinstance(error, kinds)), otherwise)


def _translated(
    error: av_error.FFmpegError, *, reason: str, name: str, origin: Origin, doing: str
) -> SourceError:
    said = "no answer within the deadline" if reason == "timeout" else str(error.strerror)
    return source_error(name, reason=reason, found=f"{doing}: {said}", origin=origin)
