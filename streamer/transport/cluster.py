"""A client of a Redis or Valkey Cluster: follows redirects, repeats nothing whose answer was lost.

redis-py's own cluster client can't be used as it is. Its pipeline sends a command again whose
answer was lost, whatever the retries are set to; and it asks a server for the keys of each FCALL
and XREAD, sending the payload twice. So it keeps the slot table here, and connections to nodes.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.cluster import ClusterNode
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    MovedError,
    NoPermissionError,
    RedisClusterException,
    TryAgainError,
)
from redis.retry import Retry

from streamer.core.errors import ConfigError
from streamer.transport.client import Client, refused, user_of
from streamer.transport.denied import explained, is_denial
from streamer.transport.functions import NO_FUNCTION, ensure_functions
from streamer.transport.hosts import Hosts
from streamer.transport.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

NUM_REDIRECTS = 5
"""Most redirects of one command."""

POLL_SECONDS = 0.005
"""Between two reads of streams in several slots: XREAD can wait in one slot only."""

_DEFAULT_PORT = 6379
_DENIED = re.compile(r"permissions to run the '([a-z|]+)' command")
_WHOLE_CLUSTER = redis.RedisCluster.COMMAND_FLAGS
_PLACE_OF_KEY = {"FCALL": 3, "FCALL_RO": 3, "EVAL": 3, "EVALSHA": 3}


class ClusterClient(Client):
    """Sends each command to the node of its key, those of a pipeline in one round trip per node.

    Delivery: a redirected command was not executed and is sent again. One whose answer was lost is
    not; the slot table is then read again before the next command. A master that lacks our
    functions is given them.

    Args:
        url: `redis+cluster://HOST:PORT,HOST:PORT` or `rediss+cluster://…`; any node will do.
        options: For the connections.

    Raises:
        ValueError: The URL is not of this form.
        ConfigError: The server there is none of a cluster.
        redis.RedisError: Nobody answers.
    """

    def __init__(self, url: str, **options: Any) -> None:
        hosts = Hosts.parse(url, default_port=_DEFAULT_PORT)
        if hosts.path not in ("", "0") or "db" in hosts.options:
            raise ValueError("a cluster has one database, 0")
        options |= hosts.options
        try:
            host, port = hosts.addresses[0]
            scheme, name = "rediss" if hosts.tls else "redis", f"[{host}]" if ":" in host else host
            # By way of a URL only can its pools be chosen.
            self._table = redis.RedisCluster.from_url(
                f"{scheme}://{name}:{port}",
                connection_pool_class=Pool,
                startup_nodes=[ClusterNode(host, port) for host, port in hosts.addresses],
                # The names of the URL outlive addresses that nodes once had.
                dynamic_startup_nodes=False,
                require_full_coverage=False,
                retry=Retry(NoBackoff(), 0),
                **options,
            )
        except (RedisClusterException, NoPermissionError) as error:
            reason = _unwrapped(error, options)
            if "not enabled" in str(reason):
                raise ConfigError(
                    "redis.url: expected a node of a cluster, found a server without cluster mode; "
                    "use redis://HOST:PORT"
                ) from None
            raise reason from error
        # Encodes; is never connected.
        of_user = ("protocol", "username", "password", "credential_provider")
        known = {name: options[name] for name in of_user if name in options}
        pool = redis.ConnectionPool(host=host, port=port, **known)
        super().__init__(connection_pool=pool)
        self._stale = False
        self._last_node: str | None = None

    def _execute(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node of its key, or, without a key, where redis-py would."""
        if args[0] in _WHOLE_CLUSTER:
            self._refresh()
            try:
                return self._table.execute_command(*args, **options)
            except (redis.ConnectionError, redis.TimeoutError):
                self._stale = True
                raise
            except RedisClusterException as error:
                self._stale = True
                raise redis.ConnectionError(str(error)) from error
        (answer,) = self.send([(args, options)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send(self, commands: Iterable[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
        """Send commands with their options, at once to all nodes.

        Returns:
            Of each command its answer, which may be a `ResponseError`.

        Raises:
            redis.RedisError: An answer was lost; any of the commands may have been executed.
        """
        self._refresh()
        requests = [_Request(args, options, _slot_of(args)) for args, options in commands]
        open_requests = requests
        try:
            for _ in range(NUM_REDIRECTS):
                self._exchange(open_requests)
                self._load_where_missing(open_requests)
                open_requests = [request for request in open_requests if self._redirect(request)]
                if not open_requests:
                    break
        except (redis.ConnectionError, redis.TimeoutError):
            self._stale = True
            raise
        except RedisClusterException as error:  # a slot that no node has
            self._stale = True
            raise redis.ConnectionError(str(error)) from error
        for request in open_requests:
            request.answer = TryAgainError(f"TRYAGAIN redirected {NUM_REDIRECTS} times")
            self._stale = True
        return [request.answer for request in requests]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> ClusterPipeline:
        """Commands of any slots to be sent at once, with `transaction=False`."""
        if transaction:
            raise redis.RedisError("a cluster's pipeline is no transaction: use transaction=False")
        return ClusterPipeline(self)

    def scan_iter(self, *args: Any, **options: Any) -> Iterator[Any]:
        """The keys of every master, as redis-py's."""
        self._refresh()
        found: Iterator[Any] = self._table.scan_iter(*args, **options)
        return found

    def load_functions(self) -> None:
        """Load the library on every master that does not have it."""
        for client in self.primaries():
            ensure_functions(client, user=user_of(self.connection_pool.connection_kwargs))

    def primaries(self) -> list[redis.Redis]:
        """A client of each master."""
        self._refresh()
        return [self._table.get_redis_connection(node) for node in self._table.get_primaries()]

    def reconnect(self) -> None:
        """Close all connections; read the slot table before the next command."""
        self._table.disconnect_connection_pools()
        self._stale = True

    def close(self) -> None:
        """Close all connections."""
        self._table.close()

    def _refresh(self) -> None:
        if not self._stale:
            return
        known = [(node.host, node.port) for node in self._table.get_nodes()]
        try:
            # The node that just failed may let us wait again: it is asked last.
            self._table.nodes_manager.initialize(
                additional_startup_nodes_info=known, last_failed_node_name=self._last_node
            )
        except RedisClusterException as error:
            raise _unwrapped(error, self.connection_pool.connection_kwargs) from error
        self._stale = False

    def _exchange(self, requests: Sequence[_Request]) -> None:
        """Send each request to its node and read the answers."""
        nodes = self._table.nodes_manager
        by_node: defaultdict[str, list[_Request]] = defaultdict(list)
        for request in requests:
            request.node = request.node or nodes.get_node_from_slot(request.slot)
            by_node[request.node.name].append(request)
        calls: list[_NodeCall] = []
        try:
            for name, batch in by_node.items():
                self._last_node = name
                assert batch[0].node is not None
                client = self._table.get_redis_connection(batch[0].node)
                calls.append(_NodeCall(name, client, batch))
            for call in calls:
                self._last_node = call.name
                call.write()
            for call in calls:
                self._last_node = call.name
                call.read()
        finally:
            for call in calls:
                call.release()

    def _redirect(self, request: _Request) -> bool:
        """Whether the request was not executed but may be, elsewhere; then it is told where."""
        answer, node = request.answer, request.node
        assert node is not None
        if isinstance(answer, AskError):  # or MOVED
            answer.host = answer.host or node.host
            request.asking = not isinstance(answer, MovedError)
            if request.asking:
                request.node = self._node_at(answer.host, answer.port)
            else:
                self._table.nodes_manager.move_slot(answer)
                request.node = None
            return True
        return _lacks_function(answer)

    def _load_where_missing(self, requests: Iterable[_Request]) -> None:
        nodes = {r.node.name: r.node for r in requests if r.node and _lacks_function(r.answer)}
        for node in nodes.values():
            client = self._table.get_redis_connection(node)
            ensure_functions(client, user=user_of(self.connection_pool.connection_kwargs))

    def _node_at(self, host: str, port: int) -> ClusterNode:
        node: ClusterNode | None = self._table.get_node(host, port)
        if node is None:
            # A master without slots stands in no slot table.
            node = ClusterNode(host, port, "primary")
            self._table.nodes_manager.nodes_cache[node.name] = node
        return node


class ClusterPipeline(Pipeline):
    """Collects commands for `ClusterClient.send`."""

    def __init__(self, client: ClusterClient) -> None:
        super().__init__(
            client.connection_pool, client.response_callbacks, transaction=False, shard_hint=None
        )
        self._client = client

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send what was collected; as redis-py's pipeline, but raises no `WatchError`."""
        stack, self.command_stack = self.command_stack, []
        answers = [
            self._client.clarified(answer, args) if isinstance(answer, Exception) else answer
            for answer, (args, _) in zip(
                self._client.send(stack) if stack else [], stack, strict=True
            )
        ]
        for answer in answers:
            if raise_on_error and isinstance(answer, Exception):
                raise answer
        return answers


def read_streams(
    client: ClusterClient,
    starts: Mapping[str, str],
    *,
    limit: int,
    timeout_seconds: float,
    poll_seconds: float = POLL_SECONDS,
) -> list[Any]:
    """XREAD of keys in any slots: waits in the server for one slot, polls several."""
    by_slot: defaultdict[int, list[str]] = defaultdict(list)
    for key in starts:
        by_slot[key_slot(key.encode())].append(key)
    batches = list(by_slot.values())
    deadline = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while True:
        block_ms = int((deadline - time.monotonic()) * 1000) if len(batches) == 1 else 0
        pipeline = client.pipeline(transaction=False)
        for keys in batches:
            ids: Any = {key: starts[key] for key in keys}
            pipeline.xread(ids, count=limit, block=block_ms if block_ms > 0 else None)
        rows: list[Any] = []
        next_batches: list[list[str]] = []
        for keys, answer in zip(batches, pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(answer, TryAgainError) and len(keys) > 1:
                # While a slot migrates, keys that don't exist can only be asked for one by one.
                next_batches += [[key] for key in keys]
            elif isinstance(answer, Exception):
                raise answer
            else:
                next_batches.append(keys)
                rows += answer or []
        complete = len(next_batches) == len(batches)
        batches = next_batches
        if rows or (complete and time.monotonic() >= deadline):
            return rows
        if complete:
            pause.wait(poll_seconds)


@dataclass(slots=True)
class _Request:
    """A command on its way."""

    args: tuple[Any, ...]
    options: dict[str, Any]
    slot: int
    node: ClusterNode | None = None
    asking: bool = False
    answer: Any = field(default=None)


class _NodeCall:
    """Requests to one node, on a connection of its pool."""

    def __init__(self, name: str, client: redis.Redis, requests: Sequence[_Request]) -> None:
        self.name = name
        self._client = client
        self._requests = requests
        self._unread = False
        self._connection = client.connection_pool.get_connection()

    def write(self) -> None:
        commands: list[tuple[Any, ...]] = []
        for request in self._requests:
            if request.asking:
                commands.append(("ASKING",))
            commands.append(request.args)
        self._unread = True
        self._connection.send_packed_command(self._connection.pack_commands(commands))

    def read(self) -> None:
        for request in self._requests:
            if request.asking:
                self._client.parse_response(self._connection, "ASKING")
            try:
                request.answer = self._client.parse_response(
                    self._connection, request.args[0], **request.options
                )
            except redis.ResponseError as error:
                request.answer = error
        self._unread = False

    def release(self) -> None:
        if self._unread:
            # The next user of the connection would take these answers for its own.
            self._connection.disconnect()
        self._client.connection_pool.release(self._connection)


def _unwrapped(error: Exception, options: dict[str, Any]) -> redis.RedisError:
    """Why no node let us in; redis-py tells it as the cause of the cause.

    Args:
        error: As redis-py raised it.
        options: Of the connections.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, redis.AuthenticationError):
            return refused(found, options)
        if is_denial(found):
            denied = _DENIED.search(str(found))
            command = denied[1] if denied else "cluster|slots"
            return explained(found, [command], user=user_of(options))
        found = found.__cause__ or found.__context__
    return redis.ConnectionError(str(error))


def _lacks_function(answer: Any) -> bool:
    return isinstance(answer, redis.ResponseError) and NO_FUNCTION in str(answer)


def _slot_of(args: tuple[Any, ...]) -> int:
    place = args.index(b"STREAMS") + 1 if args[0] == "XREAD" else _PLACE_OF_KEY.get(args[0], 1)
    key = args[place]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())
