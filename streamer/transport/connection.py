"""A connection to Redis or Valkey: no silent retries, our functions loaded, errors translated."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AskError, ClusterDownError, OutOfMemoryError, TryAgainError
from redis.retry import Retry

from streamer.core.errors import AccessDeniedError, ConfigError, MemoryFullError, TransportError
from streamer.transport.access import ANYBODY
from streamer.transport.client import Client, user_of
from streamer.transport.cluster import ClusterClient, read_streams
from streamer.transport.denied import MissingPermissionError, is_denial, missing_permissions
from streamer.transport.functions import NO_FUNCTION, PREFIX, ensure_functions
from streamer.transport.hosts import Hosts
from streamer.transport.keys import Keys
from streamer.transport.pool import Pool
from streamer.transport.sentinel import sentinel_client
from streamer.transport.tls import scheme_hint, tls_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from streamer.transport.access import RedisAccess
    from streamer.transport.permissions import Role

SOCKET_TIMEOUT_SECONDS = 5.0
"""Longest wait for an answer. Blocking reads must be shorter."""

_PASSING_ERRORS = (redis.ReadOnlyError, OutOfMemoryError, ClusterDownError, TryAgainError)
# redis-py has no classes for these, and takes the code off those for which it has.
_PASSING_CODES = {"MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED"}

_CLUSTER = ("redis+cluster://", "rediss+cluster://")
_SENTINEL = ("redis+sentinel://", "rediss+sentinel://")


class Threads(Enum):
    """Who uses a client."""

    ONE = auto()
    MANY = auto()


def connect(
    url: str,
    *,
    access: RedisAccess = ANYBODY,
    threads: Threads = Threads.MANY,
    role: Role | None = None,
) -> redis.Redis:
    """A client of the server at `url`, with our function library loaded.

    Retries are off: redis-py would send a command again whose answer was lost, and an entry
    would stand in the log twice.

    Args:
        url: `redis://`, `rediss://` or `unix://`; `redis+cluster://HOST:PORT,HOST:PORT`, any nodes
            of a cluster; or `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE`. With TLS `rediss+…`.
        access: User, password and TLS files.
        threads: How many threads will use it. For one, a connection is kept out of the pool:
            that saves a quarter of a call's cost. Of a single server only.
        role: What is going to be done: that the user may is checked now, so that nothing is left
            half done. None: nobody knows yet.

    Raises:
        ConfigError: That is no URL of a Redis server, or a file of `access` can't be used.
        AccessDeniedError: The server refuses the user or the certificate, or the user lacks a
            permission.
        TransportError: Nobody answers, or the server is too old for functions.
    """
    # An unknown option of the URL shows only when the first connection is made.
    with _url_errors("redis.url"), _scheme_hints(url), redis_errors("connect"):
        client = _client(url, access=access, threads=threads)
        load_functions(client)
        if role is not None:
            cluster = isinstance(client, ClusterClient)
            missing = missing_permissions(role, ask=client.execute_command, cluster=cluster)
            if missing:
                user = user_of(client.connection_pool.connection_kwargs)
                raise MissingPermissionError(user, missing)
    return client


def connect_to_read(url: str, *, access: RedisAccess = ANYBODY, of: str) -> redis.Redis:
    """As `connect`, for who only reads: no function is loaded, no right to write is needed.

    Args:
        url: As there.
        access: As there.
        of: What has this URL, for messages.

    Raises:
        ConfigError: That is no URL of a Redis server, or a file of `access` can't be used.
        AccessDeniedError: The server refuses.
        TransportError: Nobody answers.
    """
    with _url_errors(of), _scheme_hints(url), redis_errors("connect"):
        client = _client(url, access=access, threads=Threads.MANY)
        client.hmget(Keys().install, "partitions")  # who reads anything reads this
    return client


def check_url(url: str, *, of: str) -> None:
    """Connect to nobody.

    Raises:
        ConfigError: That is no URL of a Redis server.
    """
    with _url_errors(of):
        if _names_several(url):
            Hosts.parse(url, default_port=0)
        else:
            redis.ConnectionPool.from_url(url)


def is_redis_url(url: str) -> bool:
    """Whether its scheme is one of those that `connect` knows."""
    return url.startswith(("redis://", "rediss://", "unix://")) or _names_several(url)


def reconnect(client: redis.Redis) -> None:
    """Close all connections, so that the next command goes to who has the data then."""
    if isinstance(client, ClusterClient):
        client.reconnect()
    else:
        client.connection_pool.disconnect()


def load_functions(client: redis.Redis) -> None:
    """Load the function library, on every master that does not have it."""
    if isinstance(client, ClusterClient):
        client.load_functions()
    else:
        ensure_functions(client, user=user_of(client.connection_pool.connection_kwargs))


def _client(url: str, *, access: RedisAccess, threads: Threads) -> redis.Redis:
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
        "protocol": 2,
        # It would tell its name by a command that Redis 7.0 does not have, and ACLs have to allow.
        "driver_info": None,
        **access.options(url),
    }
    no_retries: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "retry_on_error": []}
    if url.startswith(_CLUSTER):
        return ClusterClient(url, **options)
    if url.startswith(_SENTINEL):
        return sentinel_client(url, **options, **no_retries)
    pool = Pool.from_url(url, **options, **no_retries)
    return Client(connection_pool=pool, single_connection_client=threads is Threads.ONE)


def _names_several(url: str) -> bool:
    return url.startswith((*_CLUSTER, *_SENTINEL))


@contextlib.contextmanager
def _url_errors(of: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError):
        # Its message would repeat the URL, password and all.
        raise ConfigError(
            f"{of}: expected redis://HOST:PORT, rediss://…, unix://PATH, "
            "redis+cluster://HOST:PORT,… or redis+sentinel://HOST:PORT,…/SERVICE, "
            "found something else"
        ) from None


@contextlib.contextmanager
def _scheme_hints(url: str) -> Iterator[None]:
    try:
        yield
    except TransportError as error:
        hint = scheme_hint(url, str(error))
        if not hint:
            raise
        raise TransportError(f"{error}{hint}", retryable=error.retryable) from error


@contextlib.contextmanager
def redis_errors(doing: str) -> Iterator[None]:
    """Translate what redis-py raises into TransportError, saying what was being done."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
        raise translated(error, doing) from error


def translated(error: Exception, doing: str) -> TransportError:
    """What redis-py raised, or a pipeline answered, as our error."""
    if is_denial(error) or isinstance(error, redis.AuthenticationError):
        return AccessDeniedError(f"Redis: {doing}: {error}")
    reason = tls_reason(error)
    if reason:
        return AccessDeniedError(f"Redis: {doing}: {reason}")
    if isinstance(error, OutOfMemoryError):
        return MemoryFullError(f"Redis: {doing}: OOM {error}")
    return TransportError(f"Redis: {doing}: {_reason(error)}", retryable=_passes(error))


class Row(NamedTuple):
    """An entry of a stream of ours.

    Attributes:
        position: The first part of its id.
        payload: Its bytes.
        traces: Of its sampled frames, see `codec.encode_traces`; empty if there are none.
    """

    position: int
    payload: bytes
    traces: bytes = b""


def read_entries(
    client: redis.Redis, starts: Mapping[str, int], *, limit: int, timeout_seconds: float
) -> dict[str, list[Row]]:
    """Entries after a position of each stream: by key, in order.

    Args:
        client: A connection.
        starts: By key, the position of the last entry already read.
        limit: Most entries of one stream.
        timeout_seconds: Longest wait for a first entry; 0 does not wait.
    """
    # block=0 would wait for ever.
    wait_seconds = min(timeout_seconds, SOCKET_TIMEOUT_SECONDS / 2)
    block_ms = max(1, int(wait_seconds * 1000)) if timeout_seconds > 0 else None
    ids: Any = {key: f"{position}-0" for key, position in starts.items()}
    answer: Any
    with redis_errors("read"):
        if isinstance(client, ClusterClient):
            wait_seconds = max(wait_seconds, 0.0)
            answer = read_streams(client, ids, limit=limit, timeout_seconds=wait_seconds)
        else:
            answer = client.xread(ids, count=limit, block=block_ms) or []
    return {
        key.decode(): [
            Row(int(entry_id.partition(b"-")[0]), fields.get(b"e", b""), fields.get(b"t", b""))
            for entry_id, fields in rows
        ]
        for key, rows in answer
    }


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of our functions. Its keys are of one partition."""

    function: str
    keys: Sequence[str]
    args: Sequence[Any] = ()


def call(client: redis.Redis, function: str, keys: Sequence[str], *args: Any) -> Any:
    """Call one of our functions. A server that has lost them is given them again."""
    with redis_errors(function):
        try:
            return client.fcall(PREFIX + function, len(keys), *keys, *args)
        except redis.ResponseError as error:
            if NO_FUNCTION not in str(error):
                raise
            load_functions(client)
            return client.fcall(PREFIX + function, len(keys), *keys, *args)


def call_many(client: redis.Redis, calls: Sequence[Call]) -> list[Any]:
    """Make several calls, in one round trip per server.

    Calls are atomic each for itself: when this raises, any of them may have been executed.

    Returns:
        The answer of each call.
    """
    if len(calls) == 1:  # by far the most frequent
        return [call(client, calls[0].function, calls[0].keys, *calls[0].args)]
    if not calls:
        return []
    with redis_errors(", ".join(sorted({one.function for one in calls}))):
        answers = _call_at_once(client, calls)
        lost = [
            at
            for at, answer in enumerate(answers)
            if isinstance(answer, redis.ResponseError) and NO_FUNCTION in str(answer)
        ]
        if lost:
            load_functions(client)
            again = _call_at_once(client, [calls[at] for at in lost])
            for at, answer in zip(lost, again, strict=True):
                answers[at] = answer
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if errors:
            # What no retry mends is the one to tell.
            raise min(errors, key=_passes)
    return answers


def _call_at_once(client: redis.Redis, calls: Sequence[Call]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for one in calls:
        pipeline.fcall(PREFIX + one.function, len(one.keys), *one.keys, *one.args)
    return pipeline.execute(raise_on_error=False)


def _passes(error: Exception) -> bool:
    """Whether the same command may succeed later."""
    if isinstance(error, redis.ResponseError):
        code = str(error).partition(" ")[0]
        return isinstance(error, _PASSING_ERRORS) or code in _PASSING_CODES
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, AskError):
        return "this server is one of a cluster; use redis+cluster://HOST:PORT"
    # redis-py's messages name host and port, never the password.
    return str(error) or type(error).__name__
