"""Who gets what from a gateway: over real HTTP, for every route that it has."""

from __future__ import annotations

import signal
import time
from itertools import product

import httpx
import pytest

from streamer.client import subscribe
from streamer.client.sse import parse_sse
from streamer.core.errors import ConfigError
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from streamer.transport.tokens import Scope, TokenStore
from tests.gateways import (
    HEADERS,
    PATIENCE_SECONDS,
    TOKEN,
    Gateway,
    bearer,
    problem_of,
    serving_events,
)
from tests.loopback import wait_for
from workers.gateway import access

PUBLIC = {("get", "/v1/health"), ("post", "/v1/session"), ("delete", "/v1/session")}
"""Routes under /v1 that need no token. All else is under /v1, or says nothing of anybody."""

FAR_NS = 2**62


@pytest.fixture(scope="module")
def server():
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture(scope="module")
def url(server):
    with (
        pytest.MonkeyPatch.context() as patch,
        serving_events(server.url, failures_per_minute=10**6, requests_per_minute=10**6) as url,
    ):
        patch.setattr(access, "MISS_SECONDS", 0.0)  # here most tokens are unknown
        yield url


@pytest.fixture
def store(server):
    client = connect(server.url)
    client.delete(Keys().tokens)
    yield TokenStore(client, keys=Keys())
    client.close()


@pytest.fixture(scope="module")
def routes(url):
    """Every operation under /v1 that needs a token, with an address to ask it at."""
    document = httpx.get(f"{url}/openapi.json").json()
    found = [
        (method, path.replace("{", "").replace("}", ""), operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if path.startswith("/v1/") and (method, path) not in PUBLIC
    ]
    assert len(found) >= 3
    return found


class TestTokens:
    """The matrix of routes and tokens."""

    @pytest.fixture
    def tokens(self, store):
        revoked = store.create("revoked", [Scope.ADMIN], now_ns=1)
        store.revoke("revoked")
        return {
            "missing": ({}, "found none"),
            "another kind": ({"Authorization": "Basic YTpi"}, "another kind"),
            "empty": ({"Authorization": "Bearer"}, "another kind"),
            "unknown": (bearer("streamer_" + "x" * 43), "the token is unknown"),
            "revoked": (bearer(revoked), "the token is unknown"),
            "expired": (
                bearer(store.create("expired", [Scope.ADMIN], now_ns=1, expires_ns=2)),
                "the token is expired",
            ),
            "in a cookie of another port": ({"Cookie": f"streamer_session_1={TOKEN}"}, "none"),
            "in the query": ({}, "none"),
        }

    def test_every_route_refuses_what_is_no_valid_token(self, url, routes, tokens):
        for (method, path, operation), (case, (headers, said)) in product(routes, tokens.items()):
            query = f"?token={TOKEN}" if case == "in the query" else ""
            answer = httpx.request(method, f"{url}{path}{query}", headers=headers)
            assert said in problem_of(answer, 401), (case, method, path)
            assert answer.headers["www-authenticate"].startswith('Bearer realm="streamer"')
            assert operation["security"], path

    def test_what_changes_something_needs_more_than_reading(self, url, routes, store):
        reader = bearer(store.create("reader", [Scope.EVENTS_READ], now_ns=1))
        for method, path, _ in routes:
            if method == "get":
                continue
            answer = httpx.request(method, url + path, headers=reader)
            assert "expected a token with scope" in problem_of(answer, 403), (method, path)
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]

    def test_a_reader_reads(self, url, store):
        reader = bearer(store.create("reader", [Scope.EVENTS_READ], now_ns=1, expires_ns=FAR_NS))
        assert httpx.get(f"{url}/v1/streams", headers=reader).status_code == 200
        session = httpx.get(f"{url}/v1/session", headers=reader).json()
        assert (session["name"], session["scopes"]) == ("reader", ["events:read"])
        assert session["expires"].startswith("2116-")

    def test_all_gateways_have_the_same(self, server, url, store):
        with serving_events(server.url, run_token=None) as second:
            token = bearer(store.create("bob", [Scope.EVENTS_READ], now_ns=1))
            for address in (url, second):
                # It may have to be read first.
                wait_for(
                    lambda a=address: httpx.get(f"{a}/v1/streams", headers=token).is_success,
                    "the token",
                )
            store.revoke("bob")
            for address in (url, second):
                wait_for(
                    lambda a=address: (
                        httpx.get(f"{a}/v1/streams", headers=token).status_code == 401
                    ),
                    "the end of the token",
                )
            # That of one run is not another's.
            assert httpx.get(f"{second}/v1/streams", headers=HEADERS).status_code == 401

    def test_health_says_more_to_a_bearer(self, url):
        assert set(httpx.get(f"{url}/v1/health").json()) == {"status", "version"}
        assert set(httpx.get(f"{url}/v1/health", headers=bearer("x")).json()) == {
            "status",
            "version",
        }
        assert httpx.get(f"{url}/v1/health", headers=HEADERS).json()["cursor"]


class TestOpenStreams:
    """What becomes of connections that are open when a token ends."""

    @pytest.mark.parametrize("query", ["", "?since=0"])
    def test_a_revoked_token_ends_its_streams(self, url, store, query):
        token = bearer(store.create("bob", [Scope.EVENTS_READ], now_ns=1))
        with httpx.stream(
            "GET", f"{url}/v1/events{query}", headers=token, timeout=PATIENCE_SECONDS
        ) as answer:
            messages = parse_sse(line.encode() for line in answer.iter_lines())
            assert next(messages).data == ""
            assert next(messages).event == "live"
            store.revoke("bob")
            (end,) = (message for message in messages if message.data)
        assert end.event == "end"
        assert "revoked" in end.data

    def test_an_expired_token_ends_its_streams(self, url, store):
        end_ns = time.time_ns() + 10**9
        token = bearer(store.create("bob", [Scope.EVENTS_READ], now_ns=1, expires_ns=end_ns))
        with httpx.stream(
            "GET", f"{url}/v1/events", headers=token, timeout=PATIENCE_SECONDS
        ) as answer:
            messages = parse_sse(line.encode() for line in answer.iter_lines())
            events = [message for message in messages if message.data]
        assert [message.event for message in events] == ["live", "end"]
        assert "expired" in events[-1].data

    def test_the_client_ends_with_its_token(self, url, store):
        token = store.create("bob", [Scope.EVENTS_READ], now_ns=1)
        with subscribe(url, token=token, since="0") as subscription:
            store.revoke("bob")
            with pytest.raises(ConfigError, match="401 the token is unknown") as caught:
                next(subscription)
        assert token not in str(caught.value)

    def test_the_client_without_a_token_is_told_where_to_give_one(self, url, monkeypatch):
        monkeypatch.delenv("STREAMER_TOKEN", raising=False)
        with subscribe(url) as subscription, pytest.raises(ConfigError, match="STREAMER_TOKEN"):
            next(subscription)


class TestSession:
    """The page's cookie."""

    def log_in(self, url, token=TOKEN, **headers):
        return httpx.post(f"{url}/v1/session", json={"token": token}, headers=headers)

    def test_a_cookie_stands_for_the_token(self, url):
        answer = self.log_in(url, Origin=url)
        assert answer.status_code == 200
        assert TOKEN not in answer.text
        cookie = answer.headers["set-cookie"]
        port = url.rpartition(":")[2]
        assert cookie.startswith(f"streamer_session_{port}={TOKEN};")
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Secure" not in cookie
        assert httpx.get(f"{url}/v1/streams", cookies=answer.cookies).status_code == 200
        cleared = httpx.delete(f"{url}/v1/session", cookies=answer.cookies, headers={"Origin": url})
        assert cleared.status_code == 204
        assert f'streamer_session_{port}="";' in cleared.headers["set-cookie"]
        assert "Max-Age=0" in cleared.headers["set-cookie"]

    def test_behind_a_proxy_with_tls_it_is_secure(self, url):
        answer = self.log_in(url, Origin=url.replace("http:", "https:"))
        assert "Secure" in answer.headers["set-cookie"]

    def test_a_wrong_token_gets_none(self, url):
        answer = self.log_in(url, token="streamer_wrong")
        assert "unknown" in problem_of(answer, 401)
        assert "set-cookie" not in answer.headers
        assert "streamer_wrong" not in answer.text

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
    def test_pages_of_others_can_not_log_in_or_out(self, url, origin):
        assert "Origin" in problem_of(self.log_in(url, Origin=origin), 403)
        answer = httpx.delete(f"{url}/v1/session", headers={"Origin": origin})
        assert "Origin" in problem_of(answer, 403)

    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"[]", b'{"token": 7}', b'{"token": ""}'),
            *(b'{"token": "x", "admin": true}', b'{"token": "' + b"x" * 513 + b'"}'),
        ],
    )
    def test_malformed_logins(self, url, body):
        headers = {"Content-Type": "application/json"}
        problem_of(httpx.post(f"{url}/v1/session", content=body, headers=headers), 422)

    @pytest.mark.parametrize("body", [b"\xff", b"{", b'{"token": ', b"token"])
    def test_a_login_that_is_no_json(self, url, body):
        headers = {"Content-Type": "application/json"}
        problem_of(httpx.post(f"{url}/v1/session", content=body, headers=headers), 400)


class TestBrowsers:
    """What pages of others can do: nothing."""

    def test_there_is_no_cors(self, url):
        evil = {"Origin": "https://evil.example"}
        preflight = {**evil, "Access-Control-Request-Method": "GET"}
        for answer in (
            httpx.options(f"{url}/v1/streams", headers=preflight),
            httpx.get(f"{url}/v1/streams", headers={**HEADERS, **evil}),
            httpx.get(f"{url}/v1/health", headers=evil),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert httpx.options(f"{url}/v1/streams", headers=preflight).status_code == 405

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "169.254.1.1"]
    )
    def test_a_name_that_was_made_to_point_here_is_refused(self, url, host):
        for path in ("/v1/health", "/", "/v1/streams"):
            answer = httpx.get(url + path, headers={**HEADERS, "Host": host})
            assert "host_names" in problem_of(answer, 421)

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:80"])
    def test_names_of_this_machine_are_taken(self, url, host):
        assert httpx.get(f"{url}/v1/health", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("host", ["", "a b", "a/b", "user@127.0.0.1", "[::1", "127.0.0.1:x"])
    def test_what_is_no_host_is_refused(self, url, host):
        assert "Host" in problem_of(httpx.get(f"{url}/v1/health", headers={"Host": host}), 400)

    def test_names_can_be_set(self, server):
        with serving_events(server.url, host_names=["cams.example"]) as url:
            for host, status in (
                ("cams.example", 200),
                ("CAMS.example:1", 200),
                ("x.example", 421),
            ):
                answer = httpx.get(f"{url}/v1/health", headers={"Host": host})
                assert answer.status_code == status, host

    def test_every_answer_has_the_headers(self, url):
        for answer in (
            httpx.get(f"{url}/v1/health"),
            httpx.get(f"{url}/v1/streams"),
            httpx.get(f"{url}/v1/nothing"),
            httpx.post(f"{url}/v1/streams/x/nothing"),
            httpx.post(f"{url}/v1/session", content=b"x" * 100_000),
            httpx.get(f"{url}/v1/health", headers={"Host": "evil.example"}),
        ):
            headers = answer.headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers


def test_no_secret_is_repeated(server):
    """Not in a log, at the most talkative level, and not in an answer."""
    canary, valid = "c4n4ry-5ecret", "v4lid-c4n4ry"
    gateway = Gateway(server.url, settings=["log.level=debug"], run_token=valid)
    url = f"http://127.0.0.1:{gateway.ready().port}"
    port = url.rpartition(":")[2]
    jar = {"Cookie": f"streamer_session_{port}={canary}; other={canary}"}
    json = {"Content-Type": "application/json", **bearer(canary)}
    got = [
        httpx.get(f"{url}/?token={canary}"),
        httpx.get(f"{url}/v1/streams?token={canary}&access_token={canary}"),
        httpx.get(f"{url}/v1/events?token={canary}", headers=bearer(valid)),
        httpx.get(f"{url}/v1/streams", headers=bearer(canary)),
        httpx.get(f"{url}/v1/streams", headers={"Authorization": canary}),
        httpx.get(f"{url}/v1/streams", headers={"Authorization": f"Basic {canary}"}),
        httpx.get(f"{url}/v1/streams", headers=jar),
        httpx.get(f"{url}/v1/streams", headers={**bearer(valid), "X-Api-Key": canary}),
        httpx.get(f"{url}/v1/{canary}", headers=jar),
        httpx.post(f"{url}/v1/session", json={"token": canary}),
        httpx.post(f"{url}/v1/session", json={"token": [canary]}),
        httpx.post(f"{url}/v1/session", json={"token": "x", "password": canary}),
        httpx.post(f"{url}/v1/session", content=f'{{"token": "{canary}', headers=json),
        httpx.post(f"{url}/v1/session", content=canary.encode() * 10_000, headers=json),
        httpx.post(f"{url}/v1/streams", content=canary.encode(), headers=json),
        httpx.get(f"{url}/v1/health", headers={"Host": canary}),
        httpx.get(f"{url}/v1/streams", headers=bearer(valid)),
        httpx.get(f"{url}/v1/session", headers=bearer(valid)),
    ]
    for answer in got:
        assert answer.status_code < 500
        told = answer.text + repr(answer.headers)
        assert canary not in told
        assert valid not in told
    gateway.process.send_signal(signal.SIGTERM)
    code, said = gateway.end()
    gateway.close()
    assert code == 0
    assert '"event":"stopped"' in said.replace(" ", "")
    assert canary not in said
    assert valid not in said
