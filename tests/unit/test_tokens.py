"""Tokens as they are kept, and who may come in with them."""

from __future__ import annotations

import asyncio

import pytest

from streamer.core.errors import ConfigError
from streamer.testing.clock import ManualClock
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.tokens import Scope, TokenEntry, TokenStore, digest_of
from workers.gateway import access as access_module
from workers.gateway.access import Access, AccessError, End, TooManyConnectionsError
from workers.gateway.limits import RateLimits

HERE = "127.0.0.1"
HOUR_NS = 3_600 * 10**9


@pytest.fixture
def client(valkey):
    client = connect(valkey.url)
    yield client
    client.close()


@pytest.fixture
def store(client):
    return TokenStore(client, keys=Keys())


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def make_access(store, clock, monkeypatch):
    monkeypatch.setattr(access_module, "MISS_SECONDS", 0.0)

    def make(**options) -> Access:
        values = {"run_token": None, "connections_per_token": 2, **options}
        rates = RateLimits(requests_per_minute=10, failures_per_minute=10)
        return Access(store, rates=rates, now_ns=clock.utc_ns, **values)

    return make


def why_not(access: Access, secret: str) -> End:
    with pytest.raises(AccessError) as caught:
        asyncio.run(access.identify(secret, address=HERE))
    assert secret not in str(caught.value)
    return caught.value.end


def test_only_a_hash_is_kept(store, client):
    token = store.create("bob", [Scope.EVENTS_READ], now_ns=1)
    assert len(token) > 40
    for key in client.scan_iter():
        stored = client.dump(key)
        assert token.encode() not in stored
        assert token.partition("_")[2].encode() not in stored
    (entry,) = store.read()[0].values()
    assert entry == TokenEntry(digest=digest_of(token), scopes=(Scope.EVENTS_READ,), created_ns=1)


def test_tokens_differ(store):
    made = {store.create(f"t{n}", [Scope.ADMIN], now_ns=1) for n in range(20)}
    assert len(made) == 20


def test_a_name_is_used_once_and_can_be_used_again(store):
    first = store.create("bob", [Scope.ADMIN], now_ns=1)
    with pytest.raises(ConfigError, match="bob: there is one"):
        store.create("bob", [Scope.EVENTS_READ], now_ns=2)
    assert store.read()[0]["bob"].digest == digest_of(first)
    store.revoke("bob")
    assert store.create("bob", [Scope.EVENTS_READ], now_ns=3) != first


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b", "é"])
def test_names_that_can_not_be(store, name):
    with pytest.raises(ConfigError, match="expected a name"):
        store.create(name, [Scope.ADMIN], now_ns=1)


def test_a_token_without_scopes_is_refused(store):
    with pytest.raises(ConfigError, match="expected a scope"):
        store.create("bob", [], now_ns=1)


def test_revoking_nothing_is_told(store):
    with pytest.raises(ConfigError, match="there is none"):
        store.revoke("bob")


def test_entries_of_others_grant_nothing_and_hide_nothing(store, client, make_access):
    token = store.create("bob", [Scope.ADMIN], now_ns=1)
    client.hset(Keys().tokens, "broken", "{}")
    client.hset(Keys().tokens, "scope", '{"digest":"00","scopes":["root"],"created_ns":1}')
    assert store.read()[1] == ["broken", "scope"]
    access = make_access()
    assert asyncio.run(access.identify(token, address=HERE)).name == "bob"


@pytest.mark.parametrize(
    ("granted", "allowed"),
    [
        (Scope.EVENTS_READ, {Scope.EVENTS_READ}),
        (Scope.STREAMS_WRITE, {Scope.EVENTS_READ, Scope.STREAMS_WRITE}),
        (Scope.ADMIN, set(Scope)),
    ],
)
def test_what_scopes_include(granted, allowed):
    entry = TokenEntry(digest="", scopes=(granted,), created_ns=1)
    assert {scope for scope in Scope if entry.allows(scope)} == allowed


def test_a_token_made_by_now_is_known_at_once_and_a_revoked_one_is_not(store, make_access):
    access = make_access()
    token = store.create("bob", [Scope.ADMIN], now_ns=1)
    assert asyncio.run(access.identify(token, address=HERE)).name == "bob"
    store.revoke("bob")
    asyncio.run(access.refresh())
    assert why_not(access, token) is End.UNKNOWN


def test_what_is_nearly_a_token_is_none(store, make_access):
    access = make_access(run_token="run-secret")
    token = store.create("bob", [Scope.ADMIN], now_ns=1)
    for wrong in ("", token[:-1], token + "x", token.swapcase(), digest_of(token), "\ud800", "é"):
        assert why_not(access, wrong or "-") is End.UNKNOWN
    assert asyncio.run(access.identify("run-secret", address=HERE)).token.allows(Scope.ADMIN)


def test_time_ends_a_token(store, clock, make_access):
    expires_ns = clock.utc_ns() + HOUR_NS
    token = store.create("bob", [Scope.ADMIN], now_ns=clock.utc_ns(), expires_ns=expires_ns)
    access = make_access()
    principal = asyncio.run(access.identify(token, address=HERE))
    with access.hold(principal) as grant:
        clock.advance(3_599)
        asyncio.run(access.refresh())
        assert grant.end is None
        clock.advance(1)
        assert why_not(access, token) is End.EXPIRED
        assert access.num_tokens == 0
        asyncio.run(access.refresh())
        assert grant.end is End.EXPIRED


def test_what_a_revoked_token_holds_is_told(store, make_access):
    access = make_access()
    token = store.create("bob", [Scope.ADMIN], now_ns=1)
    other = store.create("eve", [Scope.ADMIN], now_ns=1)
    told = []
    with (
        access.hold(asyncio.run(access.identify(token, address=HERE))) as grant,
        access.hold(asyncio.run(access.identify(other, address=HERE))) as unaffected,
    ):
        grant.on_end(lambda: told.append("end"))
        # One made anew under the same name is another token.
        store.revoke("bob")
        store.create("bob", [Scope.ADMIN], now_ns=1)
        asyncio.run(access.refresh())
        asyncio.run(access.refresh())
        assert (grant.end, told) == (End.REVOKED, ["end"])
        grant.on_end(lambda: told.append("late"))
        assert told == ["end", "late"]
        assert unaffected.end is None


def test_connections_are_counted_per_token(store, make_access):
    access = make_access()
    bob, eve = (
        asyncio.run(access.identify(store.create(name, [Scope.ADMIN], now_ns=1), address=HERE))
        for name in ("bob", "eve")
    )
    with access.hold(bob), access.hold(eve):
        with access.hold(bob), pytest.raises(TooManyConnectionsError), access.hold(bob):
            pass
        with access.hold(bob):
            pass


def test_without_redis_known_tokens_stay(store, valkey, make_access, client):
    access = make_access(run_token="run-secret")
    token = store.create("bob", [Scope.ADMIN], now_ns=1)
    asyncio.run(access.refresh())
    valkey.kill()
    assert asyncio.run(access.identify(token, address=HERE)).name == "bob"
    assert why_not(access, "other") is End.UNKNOWN


def test_limits_are_per_name_and_say_how_long_to_wait():
    rates = RateLimits(requests_per_minute=3, failures_per_minute=1)
    assert [rates.count_request("bob") for _ in range(3)] == [None] * 3
    wait = rates.count_request("bob")
    assert wait is not None
    assert 1 <= wait <= 60
    assert rates.count_request("eve") is None
    assert rates.count_failure("bob") is None
    assert rates.count_failure("bob") is not None
