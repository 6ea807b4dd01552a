"""What all who use a server must agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.core.errors import AccessDeniedError, ConfigError, TransportError
from streamer.transport.connection import redis_errors
from streamer.transport.keys import Keys

if TYPE_CHECKING:
    import redis

FORMAT = 1
"""Of the keys and what they hold."""


class InstallRecord(NamedTuple):
    """What all who use a server must agree on. The first worker writes it, for good.

    Attributes:
        partitions: P.
        format: See `FORMAT`.
    """

    partitions: int
    format: int


def read_install(client: redis.Redis) -> InstallRecord | None:
    """The record, None before the first worker. Needs only read access.

    Raises:
        TransportError: It is unreadable.
    """
    key = Keys().install
    with redis_errors("read install"):
        raw: Any = client.hmget(key, *InstallRecord._fields)
    if None in raw:
        return None
    try:
        record = InstallRecord(*(int(value) for value in raw))
    except ValueError:
        record = InstallRecord(0, 0)
    if record.partitions < 1:
        raise TransportError(f"{key}: expected numbers of ours, found {raw}", retryable=False)
    return record


def agree(client: redis.Redis, *, keys: Keys) -> None:
    """Check the record, or write it if there is none.

    Raises:
        ConfigError: Others use this server with another P, or in another format.
        AccessDeniedError: There is none, and this user may not write it.
    """
    wanted = InstallRecord(keys.num_partitions, FORMAT)
    found = read_install(client)
    if found is None:
        # The first one wins, field by field, so two who begin at once read the same.
        try:
            with redis_errors("write install"):
                for name, value in wanted._asdict().items():
                    client.hsetnx(keys.install, name, str(value))
        except AccessDeniedError as error:
            raise AccessDeniedError(
                f"{keys.install}: expected it to say how many partitions there are, found none, "
                f"and this user may not write it; run `streamer redis install` as user admin "
                f"({error})"
            ) from error
        found = read_install(client) or wanted
    if found.format != wanted.format:
        raise ConfigError(
            f"{keys.install}: expected data in format {wanted.format}, found format "
            f"{found.format}; use the version of streamer that wrote it, or another server"
        )
    if found.partitions != wanted.partitions:
        raise ConfigError(
            f"redis.partitions: this server was set up with {found.partitions}, this worker "
            f"is configured with {wanted.partitions}; set redis.partitions="
            f"{found.partitions}, or use another server: it can't be changed"
        )
