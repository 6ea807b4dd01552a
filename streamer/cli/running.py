"""Which pipeline is meant when none is named: the only one running."""

from __future__ import annotations

from streamer.core.errors import ConfigError, TransportError
from streamer.transport.embedded import running_urls


def running_url(command: str, *, otherwise: str) -> str:
    """The embedded server of this user's only run.

    Args:
        command: Who asks.
        otherwise: What to give instead, when there is none.

    Raises:
        TransportError: Nothing is running.
        ConfigError: Several are.
    """
    urls = running_urls()
    if not urls:
        raise TransportError(
            f"{command}: no running pipeline found; start one with `streamer run`, or give "
            f"{otherwise}"
        )
    if len(urls) > 1:
        raise ConfigError(
            f"{command}: several pipelines are running; choose one with --redis: {', '.join(urls)}"
        )
    return urls[0]
