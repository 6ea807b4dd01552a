"""Which pipeline is meant when none is named: the only one running."""

from __future__ import annotations

from urllib.parse import urlsplit

from streamer.core.errors import ConfigError, TransportError
from streamer.sources.credentials import resolve_secret
from streamer.transport.embedded import running_urls
from streamer.transport.gateway_address import running_gateways


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


def gateway_token(url: str, *, given: str | None) -> str | None:
    """The token to use at a gateway: the one given, or that of this user's own run there.

    Args:
        url: Of the gateway.
        given: `env:NAME`, `file:PATH` or the token itself.

    Raises:
        ConfigError: It is not where `given` says.
    """
    if given is not None:
        return resolve_secret(given, of="--token")
    place = urlsplit(url).netloc
    own = (run.token for run in running_gateways() if urlsplit(run.url).netloc == place)
    return next(own, None)
