"""A URL that names several servers: those of a cluster, or the sentinels of a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from redis.connection import SSLConnection, parse_url


@dataclass(frozen=True, slots=True)
class Hosts:
    """What `redis+KIND://[USER:PASSWORD@]HOST:PORT,HOST:PORT/PATH?OPTION=…` says.

    Attributes:
        addresses: Host and port of each.
        path: What follows the first slash.
        tls: Whether the scheme is `rediss+…`.
        options: User, password and query, for redis-py's connections.
    """

    addresses: tuple[tuple[str, int], ...]
    path: str
    tls: bool
    options: dict[str, Any]

    @classmethod
    def parse(cls, url: str, *, default_port: int) -> Hosts:
        """Take a URL apart.

        Raises:
            ValueError: It is not of this form. The message may repeat the URL.
        """
        parts = urlsplit(url)
        credentials, at, hosts = parts.netloc.rpartition("@")
        addresses = tuple(
            (host.hostname or "localhost", host.port or default_port)
            for host in (urlsplit(f"//{name}") for name in hosts.split(","))
        )
        # redis-py knows its own options and their types.
        scheme = parts.scheme.partition("+")[0]
        plain = SplitResult(scheme, f"{credentials}{at}server", "", parts.query, "").geturl()
        options: dict[str, Any] = parse_url(plain)
        tls = options.pop("connection_class", None) is SSLConnection
        del options["host"]
        return cls(addresses, unquote(parts.path.removeprefix("/")), tls, options)
