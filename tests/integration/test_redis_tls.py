"""Redis over TLS: with an authority, with certificates of both sides, and what is said if not."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace

import pytest

from streamer.core.errors import AccessDeniedError, ConfigError, TransportError
from streamer.transport import connection
from streamer.transport.access import RedisAccess
from streamer.transport.connection import connect, reconnect
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.permissions import Role
from tests.certificates import Authority
from tests.guarded import GuardedServer


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def own(authority):
    return authority.sign("own")


def tls_options(authority, certificate, *, clients="no"):
    """A server's; its port speaks TLS and nothing else."""
    return {
        "tls-cert-file": certificate.certificate,
        "tls-key-file": certificate.key,
        "tls-ca-cert-file": authority.certificate,
        "tls-auth-clients": clients,
    }


@pytest.fixture
def serve(tmp_path, authority):
    """Starts a server with a certificate, by default its own."""
    with contextlib.ExitStack() as stack:

        def start(certificate, **options):
            folder = tmp_path / f"server-{certificate.key.rpartition('/')[2]}"
            folder.mkdir()
            server = GuardedServer(
                "redis", folder, options=tls_options(authority, certificate, **options)
            )
            return stack.enter_context(server)

        yield start


def secured(server, authority, role=Role.ADMIN, **more):
    return replace(server.access(role), tls_ca=authority.certificate, **more)


def why(server, access, *, url=None, kind=AccessDeniedError):
    """What is said when connecting fails."""
    with pytest.raises(kind) as caught:
        connect(url or server.url, access=access)
    assert "pa,ss" not in str(caught.value)
    return str(caught.value)


def test_everything_travels_by_tls(serve, authority, own):
    server = serve(own)
    with contextlib.closing(connect(server.url, access=secured(server, authority))) as client:
        agree(client, keys=Keys())
    for host in ("localhost", "127.0.0.1"):
        url = f"rediss://{host}:{server.port}"
        connect(url, access=secured(server, authority, Role.INGEST), role=Role.INGEST).close()
    fields = {"type": "t", "stream": "cam", "id": "1", "sequence": "0", "event": b"{}"}
    assert server.root.xadd("streamer:{0}:events", fields)


def test_who_does_not_know_the_authority_does_not_connect(serve, own, tmp_path):
    server = serve(own)
    told = why(server, server.access(Role.ADMIN))
    assert "not to be trusted" in told
    assert "redis.tls_ca" in told
    other = Authority(tmp_path, name="other")
    assert "redis.tls_ca" in why(server, secured(server, other))


@pytest.mark.parametrize(
    ("signed", "expected"),
    [
        ({"days": -1}, "has expired; renew it"),
        ({"hosts": "DNS:redis.example"}, "is for another host"),
    ],
)
def test_a_certificate_that_is_not_good_is_refused(serve, authority, signed, expected):
    server = serve(authority.sign("bad", **signed))
    assert expected in why(server, secured(server, authority))


def test_a_server_may_want_a_certificate_of_ours(serve, authority, own, tmp_path):
    server = serve(own, clients="yes")
    # It may hang up before or after it says so.
    told = why(server, secured(server, authority), kind=TransportError)
    assert "redis.tls_certificate and redis.tls_key" in told
    foreign = Authority(tmp_path, name="foreign").sign("foreign-client")
    mine = {"tls_certificate": foreign.certificate, "tls_key": foreign.key}
    told = why(server, secured(server, authority, **mine), kind=TransportError)
    assert "redis.tls_certificate" in told
    ours = authority.sign("client")
    mine = {"tls_certificate": ours.certificate, "tls_key": ours.key}
    connect(server.url, access=secured(server, authority, **mine)).close()


def test_plain_and_tls_do_not_mix(serve, authority, own, tmp_path, monkeypatch):
    server = serve(own)
    plain = server.url.replace("rediss://", "redis://")
    told = why(server, server.access(Role.ADMIN), url=plain, kind=TransportError)
    assert "use rediss:// in redis.url" in told
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_SECONDS", 0.3)
    with GuardedServer("redis", tmp_path) as without:
        url = without.url.replace("redis://", "rediss://")
        told = why(without, secured(without, authority), url=url, kind=TransportError)
    assert "use redis:// in redis.url, or the server's tls-port" in told


def test_files_that_can_not_be_used_are_named_with_their_setting(authority, own, tmp_path):
    text = tmp_path / "text"
    text.write_text("not PEM")
    other = authority.sign("other")
    url = "rediss://127.0.0.1:1"
    for given, expected in [
        ({"tls_ca": "/nowhere/ca"}, "redis.tls_ca: /nowhere/ca: "),
        ({"tls_ca": str(text)}, f"redis.tls_ca: {text}: expected certificates in PEM"),
        ({"tls_certificate": own.certificate}, "redis.tls_certificate and redis.tls_key together"),
        ({"tls_certificate": own.certificate, "tls_key": "/no"}, "redis.tls_key: /no: "),
        ({"tls_certificate": own.certificate, "tls_key": other.key}, "KEY_VALUES_MISMATCH"),
        ({"username": "ingest"}, "redis.username: expected redis.password_file with it"),
        ({"password_file": "/no"}, "redis.password_file: /no: "),
    ]:
        with pytest.raises(ConfigError) as caught:
            connect(url, access=RedisAccess(**given))
        assert expected in str(caught.value)
    with pytest.raises(ConfigError, match=r"redis\.tls_ca: expected redis.url with rediss://"):
        connect("redis://127.0.0.1:1", access=RedisAccess(tls_ca=authority.certificate))


def test_a_renewed_certificate_is_taken_at_the_next_connection(serve, authority, own, tmp_path):
    """The authority's file is replaced while a client lives."""
    server = serve(own)
    ca = tmp_path / "ca.crt"
    shutil.copy(authority.certificate, ca)
    client = connect(server.url, access=replace(server.access(Role.ADMIN), tls_ca=str(ca)))
    shutil.copy(Authority(tmp_path, name="next").certificate, ca)
    client.time()
    reconnect(client)
    with pytest.raises(AccessDeniedError), connection.redis_errors("time"):
        client.time()
    client.close()
