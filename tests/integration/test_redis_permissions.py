"""Every permission of the table is needed, and who lacks one is told exactly which."""

from __future__ import annotations

import contextlib
import time

import pytest
from redis.exceptions import NoPermissionError

from streamer.client.follower import Follower
from streamer.client.live import LiveViews
from streamer.client.log import EventLog
from streamer.core.errors import AccessDeniedError, ForeignKeysError, StateError, TransportError
from streamer.runtime.clock import SystemClock
from streamer.state.history import RedisHistory
from streamer.state.redis import RedisCheckpointStore
from streamer.transport.backlog import FrameBacklog, InputBacklog
from streamer.transport.client import Client
from streamer.transport.connection import call, connect, load_functions, redis_errors
from streamer.transport.denied import missing_permissions
from streamer.transport.frame_receiver import RedisFrameReceiver
from streamer.transport.functions import LIBRARY
from streamer.transport.install import agree, read_install
from streamer.transport.keys import Keys
from streamer.transport.lease import RedisRoster, partition_leases, watch_leases
from streamer.transport.model_registry import CONFIGURED, ModelEntry, ModelRegistry
from streamer.transport.permissions import FUNCTIONS, Grants, Role
from streamer.transport.pictures import Picture, PictureStore
from streamer.transport.pixels import PixelReader
from streamer.transport.pool import Pool
from streamer.transport.redis import RedisInputReader, RedisStreamLog, raise_foreign
from streamer.transport.registry import StreamRegistry
from streamer.transport.tokens import Scope, TokenStore
from tests.guarded import ALL, GuardedServer
from tests.servers import SERVERS

KEYS = Keys()
PICTURE = Picture(1, 1, 1, b"jpeg")
ENTRY = ModelEntry(name="m", phases=("a",), actions=())
EVENT = {"type": "t", "stream": "cam", "id": "1", "sequence": "0", "event": "{}"}
LACKABLE = [
    (role, permission) for role in Role for permission in sorted(Grants.of(role).permissions)
]


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    options = {f"enable-{name}-command": "yes" for name in ("debug", "module")}
    folder = tmp_path_factory.mktemp("acl")
    with GuardedServer(request.param, folder, options=options) as running:
        yield running


@pytest.fixture(autouse=True)
def prepared(server):
    server.root.flushdb()
    for role in Role:
        server.grant(Grants.of(role))
    server.install()
    server.root.xadd(KEYS.events(0), EVENT)


def connected(server, role):
    return contextlib.closing(connect(server.url, access=server.access(role)))


def bare(server, role):
    """A connection that has asked for nothing yet."""
    options = {"protocol": 2, "driver_info": None, **server.access(role).options(server.url)}
    return Client(connection_pool=Pool.from_url(server.url, **options))


def follow(client):
    """What who follows events does."""
    log = EventLog(client)
    follower = Follower(log)
    follower.begin(60.0)
    follower.read(wait_seconds=0.0)
    log.find(0, list(follower.places.values()))


def hold(client, leases, share, role):
    leases.acquire([share], owner="me", ttl_seconds=5)
    leases.release([share], owner="me")
    roster = RedisRoster(client, keys=KEYS, role=role)
    roster.join("me", ttl_seconds=5)
    roster.leave("me")


def entry_of(client):
    registry = StreamRegistry(client, keys=KEYS)
    registry.read()
    return registry, registry.get("cam")


def ingest(client, root):
    read_install(client)
    follow(client)
    hold(client, watch_leases(client, keys=KEYS), "cam", "ingest")
    log = RedisStreamLog(client, keys=KEYS, owner="me")
    epoch = log.open_source("cam", session="s").epoch
    frames = [KEYS.source("cam"), KEYS.frames("cam")]
    call(client, "send", frames, "s", epoch, -1, 1, 1, 10, b"frame/2", 9)
    log.reclaim("cam", session="s", epoch=epoch)
    log.folded_in("cam")
    log.open_source("cam", session="another")
    StreamRegistry(root, keys=KEYS).put("cam", b"{}")
    registry, entry = entry_of(client)
    registry.say_paused("cam", entry)
    registry, entry = entry_of(client)
    registry.discard("cam", entry)
    registry.finished()
    registry.finish("cam", b"{}")
    store = PictureStore(client, keys=KEYS)
    store.keep("cam", PICTURE, max_pictures=5, max_seconds=60)
    time.sleep(0.003)
    store.keep("cam", Picture(1, 2, 1, b""), max_pictures=5, max_seconds=0.001)
    store.show("cam", PICTURE)
    store.watched(["cam"])
    store.forget("cam")


def encoder(client, root):
    read_install(client)
    StreamRegistry(client, keys=KEYS).read()
    RedisStreamLog(root, keys=KEYS).open_source("cam", session="s")
    receiver = RedisFrameReceiver(client, keys=KEYS, pixels=PixelReader())
    receiver.assign({"cam"})
    receiver.receive(timeout_seconds=0.001)
    receiver.done({"cam": 1})
    root.xadd(KEYS.frames("cam"), {"e": b""})
    FrameBacklog(keys=KEYS, clock=SystemClock()).measure(client, ["cam"])
    error = wrong_type(root, "frames")
    with pytest.raises(ForeignKeysError):
        raise_foreign(client, {KEYS.frames("other"): "other"}, error)
    keys = [key("cam") for key in (KEYS.source, KEYS.features, KEYS.frames, KEYS.state)]
    call(client, "publish", keys, 10, "s", 1, 20, -1, b"entry")
    root.hset(KEYS.state("cam"), "position", 1)
    call(client, "relieve", [KEYS.features("cam"), KEYS.anchors("cam"), KEYS.state("cam")])


def wrong_type(root, kind):
    root.set(getattr(KEYS, kind)("other"), "x")
    return TransportError("WRONGTYPE")


def temporal(client, root):
    read_install(client)
    StreamRegistry(client, keys=KEYS).read()
    models = ModelRegistry(client, keys=KEYS)
    models.wanted()
    models.put("m", ENTRY)
    models.get("m")
    RedisInputReader(client, keys=KEYS).read({"cam": 0}, timeout_seconds=0.0, limit=1)
    error = wrong_type(root, "features")
    with pytest.raises(ForeignKeysError):
        raise_foreign(client, {KEYS.features("other"): "other"}, error)
    store = RedisCheckpointStore(client, keys=KEYS)
    store.load(["cam"])
    store.versions(["cam"])
    store.attempt({"cam": 1})
    root.hset(KEYS.source("cam"), "last_us", 1)
    InputBacklog(keys=KEYS, clock=SystemClock()).measure(client, ["cam"])
    assert commit(client) == [b"ok"]
    hold(client, partition_leases(client, keys=KEYS), 0, "temporal")


def commit(client):
    """A step with an event, a dead letter and an anchor."""
    partition_leases(client, keys=KEYS).acquire([0], owner="me", ttl_seconds=5)
    of_stream = [key("cam") for key in (KEYS.state, KEYS.features, KEYS.anchors)]
    kept = ("me", 100, 10_000, 100)
    step = ("", "v1", 5, 1, "m", b"state", 0, b"before", 3, 1, 1)
    letter, event = (4, "poison", "why", b"bytes"), ("t", "cam", "1", 0, b"{}")
    keys = [KEYS.lease(0), KEYS.events(0), KEYS.dead(0), *of_stream]
    return call(client, "commit", keys, *kept, *step, *letter, *event)


def gateway(client, root):
    agree(client, keys=KEYS)
    follow(client)
    TokenStore(client, keys=KEYS).read()
    registry = StreamRegistry(client, keys=KEYS)
    registry.add("cam", b"{}")
    registry.update("cam", paused=True)
    registry.get("cam")
    registry.finished()
    registry.remove("cam")
    registry.discard("cam", next(iter(registry.read()[0].values())))
    with redis_errors("look for a run"):
        client.exists(KEYS.run)
    models = ModelRegistry(client, keys=KEYS)
    models.wanted()
    models.all()
    models.get("m")
    LiveViews(client, keys=KEYS).look(["cam"], {})
    store = PictureStore(client, keys=KEYS)
    store.snapshot("cam", epoch=1, seq=1)
    store.previews(["cam"])
    store.watch({"cam": 1.0})


def subscriber(client, root):
    read_install(client)
    follow(client)


def admin(client, root):
    root.delete(KEYS.install)
    agree(client, keys=KEYS)
    root.function_delete(LIBRARY)
    with redis_errors("load"):
        load_functions(client)
    follow(client)
    tokens = TokenStore(client, keys=KEYS)
    tokens.create("one", [Scope.ADMIN], now_ns=1)
    tokens.read()
    tokens.revoke("one")
    registry = StreamRegistry(client, keys=KEYS)
    registry.add("cam", b"{}")
    registry.get("cam")
    registry.finished()
    StreamRegistry(root, keys=KEYS).finish("cam", b"{}")
    registry.remove("cam")
    with redis_errors("look for a run"):
        client.exists(KEYS.run)
    models = ModelRegistry(client, keys=KEYS)
    models.want(CONFIGURED)
    models.wanted()
    models.all()
    models.get("m")
    LiveViews(client, keys=KEYS).look(["cam"], {})
    history = RedisHistory(client, keys=KEYS)
    root.hset(KEYS.state("cam"), mapping={"model": "m", "version": "v"})
    history.model_ids()
    with pytest.raises(StateError):  # there is none worth the name
        history.read("cam")
    history.now_us()
    with redis_errors("doctor"):
        client.info("server")
        client.acl_load()


def monitor(client, root):
    with redis_errors("monitor"):
        client.ping()
        client.info("all")
        for words in ("SLOWLOG GET", "SLOWLOG LEN", "LATENCY LATEST", "LATENCY HISTOGRAM"):
            client.execute_command(*words.split())


DOES = {
    Role.INGEST: ingest,
    Role.ENCODER: encoder,
    Role.TEMPORAL: temporal,
    Role.GATEWAY: gateway,
    Role.SUBSCRIBER: subscriber,
    Role.ADMIN: admin,
    Role.MONITOR: monitor,
}


def run(server, role):
    """All that a role does."""
    if role in FUNCTIONS:
        with connected(server, role) as client:
            DOES[role](client, server.root)
    else:
        with contextlib.closing(bare(server, role)) as client:
            DOES[role](client, server.root)


@pytest.mark.parametrize("role", Role)
def test_a_role_has_all_that_it_needs(server, role):
    server.denials()
    run(server, role)
    assert server.denials() == []
    if role in FUNCTIONS:
        connect(server.url, access=server.access(role), role=role).close()


@pytest.mark.parametrize(
    ("role", "permission"), LACKABLE, ids=[f"{role}-{p.rule}" for role, p in LACKABLE]
)
def test_who_lacks_one_is_told_which(server, role, permission, request):
    if not ALL and request.node.callspec.params["server"] == "redis" and role is not Role.ENCODER:
        pytest.skip("make test-redis: the other roles on Redis too")
    server.grant(Grants.of(role).without(permission))
    with pytest.raises(AccessDeniedError) as caught:
        run(server, role)
    told = str(caught.value)
    assert f"user {role} may not" in told
    assert f"+{permission.command}" in told
    assert permission.pattern in told
    if role in FUNCTIONS:
        load_functions(server.root)
        with contextlib.closing(bare(server, role)) as client:
            found = missing_permissions(role, ask=client.execute_command)
        assert found == [permission]


def test_who_lacks_much_is_told_all_of_it_in_one_line(server):
    with pytest.raises(AccessDeniedError) as caught:
        connect(server.url, access=server.access(Role.ENCODER), role=Role.TEMPORAL)
    told = str(caught.value)
    assert "\n" not in told
    assert "more; its ACL rules must have" in told
    for part in ("+time", "+xread", "%W~streamer:{*}:state:*"):
        assert part in told


def test_a_worker_without_functions_says_who_can_load_them(server):
    server.root.function_delete(LIBRARY)
    with pytest.raises(AccessDeniedError, match=r"found none.*`streamer redis install`"):
        connect(server.url, access=server.access(Role.ENCODER), role=Role.ENCODER)
    server.root.function_load(
        f"#!lua name={LIBRARY}\nredis.register_function('streamer_2_may', function() end)"
    )
    with pytest.raises(AccessDeniedError, match="found another version of it"):
        connect(server.url, access=server.access(Role.ENCODER), role=Role.ENCODER)


def test_a_worker_without_the_install_record_says_who_can_write_it(server):
    server.root.delete(KEYS.install)
    with connected(server, Role.ENCODER) as client, pytest.raises(AccessDeniedError) as caught:
        agree(client, keys=KEYS)
    assert "run `streamer redis install` as user admin" in str(caught.value)


FORBIDDEN = [
    "FLUSHALL", "FLUSHDB", "CONFIG GET *", "CONFIG SET dir /", "DEBUG SLEEP 0", "SCRIPT FLUSH",
    "EVAL return(1) 0", "KEYS *", "ACL LIST", "ACL SETUSER me on", "ACL GETUSER admin", "ACL SAVE",
    "MONITOR", "SHUTDOWN NOSAVE", "REPLICAOF NO ONE", "CLIENT LIST", "CLIENT KILL TYPE normal",
    "SAVE", "MIGRATE h 1 k 0 1", "MODULE LOAD x", "FUNCTION FLUSH", "FUNCTION DELETE streamer_2",
    "FUNCTION DUMP", "SUBSCRIBE c", "PUBLISH c m", "RENAME streamer:tokens x", "SWAPDB 0 1",
    "RESTORE streamer:tokens 0 x", "DUMP streamer:tokens", "COPY streamer:tokens streamer:streams",
]  # fmt: skip
"""For nobody, whoever's password is known."""

ALSO_FORBIDDEN = {
    Role.INGEST: [
        "XADD streamer:{0}:events * e x", "XADD streamer:{0}:features:cam * e x",
        "HSET streamer:{0}:state:cam version x", "HGETALL streamer:tokens", "SET streamer:model x",
        "XREAD STREAMS streamer:{0}:features:cam 0", "XREAD STREAMS streamer:{0}:frames:cam 0",
        "HGET streamer:{0}:lease owner", "FUNCTION LOAD x", "SCAN 0",
        "DEL streamer:{0}:events", "XTRIM streamer:{0}:events MAXLEN 0",
    ],
    Role.ENCODER: [
        "HSET streamer:{0}:state:cam version x", "XADD streamer:{0}:events * e x",
        "HSET streamer:{0}:lease owner me", "HSET streamer:streams cam x", "DEL streamer:streams",
        "XREAD STREAMS streamer:{0}:events 0", "HGETALL streamer:tokens", "FUNCTION LOAD x",
        "DEL streamer:{0}:state:cam", "HDEL streamer:{0}:state:cam version",
        "GET streamer:{0}:preview:cam",
    ],
    Role.TEMPORAL: [
        "XADD streamer:{0}:features:cam * e x", "HSET streamer:{0}:source:cam session me",
        "HSET streamer:streams cam x", "HGETALL streamer:tokens", "HSET streamer:tokens x y",
        "DEL streamer:{0}:events", "GET streamer:{0}:preview:cam", "FUNCTION LOAD x",
        "SET streamer:model x",
    ],
    Role.GATEWAY: [
        "XADD streamer:{0}:events * e x", "HSET streamer:tokens x y", "HSETNX streamer:tokens x y",
        "HDEL streamer:tokens x", "HSET streamer:{0}:state:cam version x", "SET streamer:model x",
        "XREAD STREAMS streamer:{0}:features:cam 0", "FUNCTION LOAD x",
        "SET streamer:{0}:preview:cam x", "SCAN 0",
    ],
    Role.SUBSCRIBER: [
        "XADD streamer:{0}:events * e x", "DEL streamer:{0}:events", "HGETALL streamer:streams",
        "HGETALL streamer:tokens", "HGET streamer:{0}:state:cam state", "SCAN 0", "INFO",
        "XREAD STREAMS streamer:{0}:features:cam 0", "XGROUP CREATE streamer:{0}:events g 0",
        "FCALL streamer_2_swap 1 streamer:streams cam x y 0", "FCALL streamer_2_may 0",
        "SET streamer:{0}:watched:cam 5", "FUNCTION LIST", "GET streamer:{0}:preview:cam",
    ],
    Role.ADMIN: [
        "XADD streamer:{0}:events * e x", "HSET streamer:{0}:state:cam version x",
        "XADD streamer:{0}:features:cam * e x", "DEL streamer:{0}:events", "DEL streamer:tokens",
        "GET other", "SET other x",
    ],
    Role.MONITOR: [
        "GET streamer:model", "HGETALL streamer:tokens", "XREAD STREAMS streamer:{0}:events 0",
        "FCALL streamer_2_may 0", "SCAN 0", "SLOWLOG RESET", "LATENCY RESET", "EXISTS streamer:run",
    ],
}  # fmt: skip
"""What it must not do with the pipeline itself."""


@pytest.mark.parametrize("role", Role)
def test_what_a_stolen_password_is_not_good_for(server, role):
    with contextlib.closing(bare(server, role)) as client:
        for command in [*FORBIDDEN, *ALSO_FORBIDDEN[role]]:
            with pytest.raises(NoPermissionError):
                client.execute_command(*command.split())
    assert server.root.exists(KEYS.install)


def test_a_function_of_another_role_does_nothing_for_who_calls_it(server):
    """FCALL itself is granted on the keys; the steps inside are not."""
    stored = {b"version": b"v", b"owner": b"me"}
    server.root.hset(KEYS.state("cam"), mapping=stored)
    stolen = [
        (Role.ENCODER, "attempt", [KEYS.state("cam")], [7]),
        (Role.ENCODER, "swap", [KEYS.state("cam")], ["version", "v", "w", ""]),
        (Role.ENCODER, "acquire", [KEYS.state("cam")], ["me", 1000]),
        (Role.ENCODER, "release", [KEYS.state("cam")], ["me"]),
        (Role.INGEST, "release", [KEYS.source("cam")], ["me"]),
        (Role.GATEWAY, "acquire", [KEYS.streams], ["me", 1000]),
        (Role.TEMPORAL, "release", [KEYS.state("cam")], ["me"]),
    ]
    server.root.hset(KEYS.source("cam"), "owner", "me")
    for role, function, keys, args in stolen:
        with connected(server, role) as client, pytest.raises(AccessDeniedError):
            call(client, function, keys, *args)
    assert server.root.hgetall(KEYS.state("cam")) == stored


def test_half_a_permission_writes_nothing(server):
    """A commit that may not write its state must not write its events either."""
    lacking = next(
        p for p in Grants.of(Role.TEMPORAL).permissions
        if (p.command, p.key) == ("hset", "state")
    )  # fmt: skip
    server.grant(Grants.of(Role.TEMPORAL).without(lacking))
    before = server.root.xlen(KEYS.events(0))
    with connected(server, Role.TEMPORAL) as client, pytest.raises(AccessDeniedError):
        commit(client)
    assert server.root.xlen(KEYS.events(0)) == before
