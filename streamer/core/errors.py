"""The error tree. A message says what was expected, what was found, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class StreamerError(Exception):
    """Base of every error this project raises on purpose.

    Attributes:
        retryable: Whether the same call may succeed later without anybody changing anything.
    """

    retryable = False


class ConfigError(StreamerError):
    """The user asked for something that can't be: a wrong key, URL, value or combination."""


class SourceError(StreamerError):
    """A camera or file could not be opened or read.

    Args:
        message: What happened, without credentials.
        retryable: False for what no retry mends (a missing file, wrong credentials).
        reason: A short machine-readable word for metrics and status events.
    """

    def __init__(self, message: str, *, retryable: bool, reason: str) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.reason = reason


class TransportError(StreamerError):
    """Redis or shared memory refused or lost an operation."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class AccessDeniedError(TransportError):
    """Redis refuses a user, a certificate, or what a user asks for.

    Not retryable: somebody has to change a file or the server's users. A worker that was admitted
    before says that it is not ready, and goes on asking.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=False)


class MemoryFullError(TransportError):
    """Redis has reached its `maxmemory`: producers wait."""


class ForeignKeysError(TransportError):
    """Keys of ours hold something that is not ours.

    Attributes:
        key_of: By stream, the key.
    """

    def __init__(self, key_of: Mapping[str, str]) -> None:
        super().__init__(
            f"{', '.join(key_of.values())}: expected keys of ours, found another type; remove them",
            retryable=False,
        )
        self.key_of = key_of


class ModelError(StreamerError):
    """A model file or bundle is missing, damaged, or does not fit its peers."""


class StateError(StreamerError):
    """State bytes are of another version, shape or model."""
