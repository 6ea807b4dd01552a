"""Users and TLS on a real cluster, and users behind sentinels."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from streamer.client.follower import Follower
from streamer.client.log import EventLog
from streamer.core.errors import AccessDeniedError
from streamer.transport.access import RedisAccess
from streamer.transport.acl import user_rules
from streamer.transport.connection import Call, call_many, connect
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.permissions import FUNCTIONS, Grants, Permission, Role
from streamer.transport.redis import RedisStreamLog
from streamer.transport.registry import StreamRegistry
from tests.certificates import Authority
from tests.cluster import ClusterNode, EmbeddedCluster
from tests.guarded import ALL, password_of
from tests.loopback import bus_port, free_port
from tests.sentinel import PASSWORD, SERVICE, EmbeddedSentinel
from tests.servers import binary_of

KEYS = Keys(num_partitions=8)


class SecureCluster(EmbeddedCluster):
    """Clients come by TLS, tests by the plain ports.

    Args:
        authority: Signs the certificate.
    """

    def __init__(self, authority):
        super().__init__(binary=binary_of("redis"))
        own = authority.sign("node")
        self._options = {
            "tls-cert-file": own.certificate,
            "tls-key-file": own.key,
            "tls-ca-cert-file": authority.certificate,
            "tls-auth-clients": "no",
        }

    @property
    def url(self):
        ports = (node.server._options["tls-port"] for node in self.nodes)
        return "rediss+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)

    def _start_node(self, stack):
        port = free_port(bus=True)
        options = {
            **self._options,
            "tls-port": str(port),
            "tls-cluster": "yes",
            "cluster-announce-tls-port": str(port),
            "cluster-announce-bus-port": str(bus_port(port)),
            "appendonly": "no",
        }
        node = ClusterNode(binary=self._binary, front=None, options=options)
        stack.enter_context(node.server)
        return node

    def _meet(self, newcomers):
        with self.nodes[0].client as client:
            for node in newcomers:
                port = node.server._options["tls-port"]
                client.execute_command("CLUSTER MEET", "127.0.0.1", port)
        self.wait_until_ok()

    def grant(self, grants):
        rules = user_rules(grants, [password_of(grants.role)])
        for node in self.nodes:
            with node.client as client:
                client.execute_command("ACL", "SETUSER", str(grants.role), "reset", *rules)

    def denials(self):
        found = []
        for node in self.nodes:
            with node.client as client:
                found += [(e["username"], e["object"]) for e in client.acl_log()]
                client.acl_log_reset()
        return found


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority):
    with SecureCluster(authority) as running:
        for role in Role:
            running.grant(Grants.of(role, cluster=True))
        yield running


@pytest.fixture
def access_of(tmp_path, authority):
    def access(role):
        secret = tmp_path / f"redis-{role}"
        secret.write_text(password_of(role))
        path = str(secret)
        return RedisAccess(username=str(role), password_file=path, tls_ca=authority.certificate)

    return access


def test_every_role_works_on_a_cluster_over_tls(secure, access_of):
    with contextlib.closing(connect(secure.url, access=access_of(Role.ADMIN))) as admin:
        agree(admin, keys=KEYS)
        StreamRegistry(admin, keys=KEYS).add("cam-1", b"{}")
        assert list(admin.scan_iter(match="streamer:install")) == [b"streamer:install"]
        secure.denials()
        for role in FUNCTIONS:
            connect(secure.url, access=access_of(role), role=role).close()
        with contextlib.closing(
            connect(secure.url, access=access_of(Role.INGEST), role=Role.INGEST)
        ) as ingest:
            log = RedisStreamLog(ingest, keys=KEYS)
            assert [log.open_source(f"cam-{n}", session="s").epoch for n in range(8)] == [1] * 8
            follower = Follower(EventLog(ingest))
            follower.begin(60.0)
            assert follower.read(wait_seconds=0.0) == []
    assert secure.denials() == []


def test_a_lacking_permission_is_named_on_a_cluster_too(secure, access_of):
    role = Role.ENCODER
    lacking = next(p for p in Grants.of(role).permissions if p.rule.startswith("(+xadd"))
    secure.grant(Grants.of(role, cluster=True).without(lacking))
    try:
        with pytest.raises(AccessDeniedError) as caught:
            connect(secure.url, access=access_of(role), role=role)
        assert lacking.rule in str(caught.value)
        with contextlib.closing(connect(secure.url, access=access_of(role))) as client:
            calls = [_publish(f"cam-{n}") for n in range(4)]
            with pytest.raises(AccessDeniedError) as caught:
                call_many(client, calls)
        assert lacking.rule in str(caught.value)
    finally:
        secure.grant(Grants.of(role, cluster=True))
    asking = Permission("cluster|slots")
    secure.grant(Grants.of(role, cluster=True).without(asking))
    try:
        with pytest.raises(AccessDeniedError, match=r"cluster\|slots"):
            connect(secure.url, access=access_of(role))
    finally:
        secure.grant(Grants.of(role, cluster=True))


def _publish(stream_id):
    keys = [key(stream_id) for key in (KEYS.source, KEYS.features, KEYS.frames, KEYS.state)]
    return Call("publish", keys, [10, "s", 1, 20, -1, b"entry"])


def test_a_cluster_s_refusals_are_as_clear(secure, access_of, tmp_path):
    good = access_of(Role.INGEST)
    with pytest.raises(AccessDeniedError, match=r"redis\.tls_ca"):
        connect(secure.url, access=replace(good, tls_ca=None))
    (tmp_path / "redis-ingest").write_text("wrong")
    with pytest.raises(AccessDeniedError, match=r"does not know user ingest with .*redis-ingest"):
        connect(secure.url, access=good)


@pytest.mark.skipif(not ALL, reason="make test-redis: it waits for sentinels")
def test_a_user_comes_to_the_primary_that_sentinels_name(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(password_of(Role.ADMIN))
    access = RedisAccess(username="admin", password_file=str(secret))
    with EmbeddedSentinel() as sentinel:
        for server in sentinel.servers.values():
            rules = user_rules(Grants.of(Role.ADMIN), [password_of(Role.ADMIN)])
            socket = server.url.removeprefix("unix://")
            with _root(socket) as root:
                root.execute_command("ACL", "SETUSER", "admin", "reset", *rules)
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}"
        with contextlib.closing(connect(url, access=access, role=Role.ADMIN)) as client:
            agree(client, keys=Keys())
        secret.write_text("wrong")
        with pytest.raises(AccessDeniedError, match=r"does not know user admin"):
            connect(url, access=access)


def _root(socket):
    import redis

    return redis.Redis(unix_socket_path=socket, password=PASSWORD, protocol=2)
