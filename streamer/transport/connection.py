"""A connection to Redis or Valkey: no silent retries, our functions loaded, errors translated."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, TryAgainError
from redis.retry import Retry

from streamer.core.errors import ConfigError, MemoryFullError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SOCKET_TIMEOUT_SECONDS = 5.0
"""Longest wait for an answer. Blocking reads must be shorter."""


PREFIX = "streamer_2_"
"""Of our functions: their library's version."""


class Threads(Enum):
    """Who uses a client."""

    ONE = auto()
    MANY = auto()


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of all keys. One partition's share a hash tag, and so a slot."""

    num_partitions: int = 1

    @property
    def streams(self) -> str:
        """Hash of the desired sources."""
        return "streamer:streams"

    def partition(self, stream_id: str) -> int:
        """blake2b(stream id) mod P."""
        return _partition_of(stream_id, self.num_partitions)

    @property
    def finished(self) -> str:
        """Hash: stream → the source that was read to its end."""
        return "streamer:finished"

    @property
    def models(self) -> str:
        """Hash: model id → its labels, of every model that ever made a state here."""
        return "streamer:models"

    def members(self, role: str) -> str:
        """Sorted set: live workers of a role."""
        return f"streamer:members:{role}"

    def lease(self, partition: int) -> str:
        """Hash: owner, generation, expiry by server time."""
        return f"streamer:{{{partition}}}:lease"

    def dead(self, partition: int) -> str:
        """Stream: dead letters, what was refused for good."""
        return f"streamer:{{{partition}}}:dead"

    def watch(self, stream_id: str) -> str:
        """Hash: the lease of the ingest worker that reads the source."""
        return self._of(stream_id, "watch")

    def anchors(self, stream_id: str) -> str:
        """Stream: past states, from which the events after them can be recomputed."""
        return self._of(stream_id, "anchors")

    def events(self, partition: int) -> str:
        """Stream of events: the public subscription."""
        return f"streamer:{{{partition}}}:events"

    def source(self, stream_id: str) -> str:
        """Hash: session, epoch, last accepted position."""
        return self._of(stream_id, "source")

    def frames(self, stream_id: str) -> str:
        """Stream: the frame path to the encoder."""
        return self._of(stream_id, "frames")

    def features(self, stream_id: str) -> str:
        """Stream: the input log."""
        return self._of(stream_id, "features")

    def state(self, stream_id: str) -> str:
        """Hash: version, position, state."""
        return self._of(stream_id, "state")

    def _of(self, stream_id: str, kind: str) -> str:
        return _key_of(stream_id, kind, self.num_partitions)


@lru_cache(maxsize=65_536)
def _key_of(stream_id: str, kind: str, num_partitions: int) -> str:
    # Asked for every stream at every turn.
    return f"streamer:{{{_partition_of(stream_id, num_partitions)}}}:{kind}:{stream_id}"


def _partition_of(stream_id: str, num_partitions: int) -> int:
    digest = blake2b(stream_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % num_partitions


def connect(url: str, *, threads: Threads = Threads.MANY) -> redis.Redis:
    """A client of the server at `url`, with our function library loaded.

    Retries are off: redis-py would send a command again whose answer was lost, and an entry
    would stand in the log twice.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        threads: How many threads will use it. For one, a connection is kept out of the pool:
            that saves a quarter of a call's cost.

    Raises:
        ConfigError: That is no URL of a Redis server.
        TransportError: Nobody answers, or the server is too old for functions.
    """
    try:
        # An unknown option of the URL shows only when the first connection is made.
        with redis_errors("connect"):
            client = redis.Redis.from_url(
                url,
                retry=Retry(NoBackoff(), 0),
                retry_on_error=[],
                socket_timeout=SOCKET_TIMEOUT_SECONDS,
                socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
                protocol=2,
                single_connection_client=threads is Threads.ONE,
            )
            load_functions(client)
    except (ValueError, TypeError):
        # Its message would repeat the URL, password and all.
        raise ConfigError(
            "redis.url: expected redis://HOST:PORT, rediss://… or unix://PATH, found something else"
        ) from None
    return client


def reconnect(client: redis.Redis) -> None:
    """Let go of all connections: the next command makes a new one."""
    client.connection_pool.disconnect()


def load_functions(client: redis.Redis) -> None:
    """Load the function library. It persists and replicates, unlike scripts."""
    library = resources.files("streamer.transport").joinpath("functions.lua").read_text()
    client.function_load(library, replace=True)


_PASSING_ERRORS = (redis.ReadOnlyError, ClusterDownError, TryAgainError)
_PASSING_CODES = ("BUSY", "LOADING", "MISCONF", "NOREPLICAS", "UNBLOCKED")
"""Errors that pass with the call unchanged: a full disk, a failover, a slot on its way.

redis-py takes the code of some off their text, and makes classes of them.
"""


@contextlib.contextmanager
def redis_errors(doing: str) -> Iterator[None]:
    """Translate what redis-py raises into TransportError, saying what was being done."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise TransportError(f"Redis: {doing}: {_reason(error)}", retryable=True) from error
    except redis.OutOfMemoryError as error:
        raise MemoryFullError(f"Redis: {doing}: OOM {error}") from error
    except redis.ResponseError as error:
        retryable = isinstance(error, _PASSING_ERRORS) or str(error).startswith(_PASSING_CODES)
        raise TransportError(f"Redis: {doing}: {error}", retryable=retryable) from error


def read_entries(
    client: redis.Redis, starts: Mapping[str, int], *, limit: int, timeout_seconds: float
) -> dict[str, list[tuple[int, bytes]]]:
    """Entries after a position of each stream: by key, (position, payload) in order.

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
    with redis_errors("read"):
        answer: Any = client.xread(ids, count=limit, block=block_ms) or []
    return {
        key.decode(): [
            (int(entry_id.partition(b"-")[0]), fields.get(b"e", b"")) for entry_id, fields in rows
        ]
        for key, rows in answer
    }


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of our functions. Its keys share a slot."""

    function: str
    keys: Sequence[str]
    args: Sequence[Any] = ()


def call(client: redis.Redis, function: str, keys: Sequence[str], *args: Any) -> Any:
    """Call one of our functions. A server that has lost them is given them again."""
    with redis_errors(function):
        try:
            return client.fcall(PREFIX + function, len(keys), *keys, *args)
        except redis.ResponseError as error:
            if "Function not found" not in str(error):
                raise
            load_functions(client)
            return client.fcall(PREFIX + function, len(keys), *keys, *args)


def call_many(client: redis.Redis, calls: Sequence[Call]) -> list[Any]:
    """Make several calls in one round trip. Each is atomic, all of them together are not.

    Raises:
        TransportError: One of them failed; any number of the others may have been done.
    """
    if len(calls) == 1:
        return [call(client, calls[0].function, calls[0].keys, *calls[0].args)]
    if not calls:
        return []
    with redis_errors(calls[0].function):
        pipeline = client.pipeline(transaction=False)
        for one in calls:
            pipeline.fcall(PREFIX + one.function, len(one.keys), *one.keys, *one.args)
        try:
            return pipeline.execute()
        except redis.ResponseError as error:
            if "Function not found" not in str(error):
                raise
            load_functions(client)
            return [call(client, one.function, one.keys, *one.args) for one in calls]


def _reason(error: Exception) -> str:
    # redis-py's messages name host and port, never the password.
    return str(error) or type(error).__name__
