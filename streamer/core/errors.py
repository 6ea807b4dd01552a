"""The error tree. A message says what was expected, what was found, and what to do."""

from __future__ import annotations


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


class ModelError(StreamerError):
    """A model file or bundle is missing, damaged, or does not fit its peers."""


class StateError(StreamerError):
    """State bytes are of another version, shape or model."""
