"""Which pipeline is meant when none is named: the only one running."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from streamer.cli.settings import load_settings
from streamer.core.config import RedisSettings
from streamer.core.errors import ConfigError, TransportError
from streamer.sources.credentials import resolve_secret
from streamer.transport.access import ANYBODY, RedisAccess
from streamer.transport.embedded import running_urls
from streamer.transport.gateway_address import running_gateways

if TYPE_CHECKING:
    from streamer.core.config import Settings


class Place(NamedTuple):
    """A server, and with what one comes to it."""

    url: str
    access: RedisAccess


def redis_place(
    given: str | None, command: str, *, otherwise: str = "--redis URL", url: str | None = None
) -> Place:
    """Which Redis a command is about.

    The one given; else the one of the settings, if they name a user for it; else that of this
    user's only run; else the one of the settings, if they name one. User, password and TLS files
    come from the settings, unless the URL has a user.

    Args:
        given: As `--redis` says.
        command: Who asks.
        otherwise: What to give instead, when there is none.
        url: A gateway to ask instead.

    Raises:
        TransportError: There is none.
        ConfigError: Several are running.
    """
    if url is not None:
        return Place(url, ANYBODY)
    settings = load_settings()
    named = settings.redis.url != RedisSettings().url and not running_urls()
    if given is not None or named or settings.redis.username is not None:
        place = given or settings.redis.url
        return Place(place, _access_for(place, settings))
    return Place(running_url(command, otherwise=otherwise), ANYBODY)


def _access_for(url: str, settings: Settings) -> RedisAccess:
    access = RedisAccess.of(settings.redis)
    has_user = "@" in urlsplit(url).netloc
    return replace(access, username=None, password_file=None) if has_user else access


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
