"""A client of the current primary of a service that Redis or Valkey sentinels watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.sentinel import Sentinel

from streamer.transport.client import Client
from streamer.transport.hosts import Hosts
from streamer.transport.pool import SentinelPool

if TYPE_CHECKING:
    import redis

_DEFAULT_PORT = 26379
_OF_THE_SENTINELS = ("sentinel_username", "sentinel_password")


def sentinel_client(url: str, **options: Any) -> redis.Redis:
    """A client that asks the sentinels for the primary whenever it connects.

    It always has a pool: a connection kept by one thread would for ever connect to the server it
    was made for.

    Args:
        url: `redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/SERVICE` or
            `rediss+sentinel://…`. User and password are those of the servers; the sentinels' own
            are the options `sentinel_username` and `sentinel_password`.
        options: For all connections.

    Raises:
        ValueError: The URL is not of this form.
    """
    hosts = Hosts.parse(url, default_port=_DEFAULT_PORT)
    if not hosts.path:
        raise ValueError("the service is missing")
    given = dict(hosts.options)
    of_sentinels = {
        name.removeprefix("sentinel_"): given.pop(name)
        for name in _OF_THE_SENTINELS
        if name in given
    }
    tls = {"ssl": True} if hosts.tls else {}
    asking = {name: option for name, option in options.items() if name != "credential_provider"}
    sentinels = Sentinel(hosts.addresses, sentinel_kwargs={**asking, **tls, **of_sentinels})
    pool = SentinelPool(hosts.path, sentinels, **{**options, **tls, **given})
    return Client.from_pool(pool)
