"""How much a gateway takes, and where it may be bound."""

from __future__ import annotations

import httpx
import pytest

from streamer.core.errors import ConfigError
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from streamer.transport.tokens import Scope, TokenStore
from tests.gateways import HEADERS, Gateway, bearer, problem_of, serving_events
from tests.loopback import wait_for


@pytest.fixture(scope="module")
def server():
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture(scope="module")
def url(server):
    with serving_events(server.url) as url:
        yield url


@pytest.fixture
def store(server):
    client = connect(server.url)
    client.delete(Keys().tokens)
    yield TokenStore(client, keys=Keys())
    client.close()


class TestLimits:
    """Floods."""

    def test_requests_of_a_token(self, server, store):
        with serving_events(server.url, requests_per_minute=5) as url:
            token = bearer(store.create("bob", [Scope.EVENTS_READ], now_ns=1))
            got = [httpx.get(f"{url}/v1/streams", headers=token) for _ in range(8)]
            assert [answer.status_code for answer in got] == [200] * 5 + [429] * 3
            assert "too many requests" in problem_of(got[-1], 429)
            assert 1 <= int(got[-1].headers["retry-after"]) <= 60
            assert httpx.get(f"{url}/v1/streams", headers=HEADERS).status_code == 200

    def test_requests_without_a_token(self, server):
        with serving_events(server.url, failures_per_minute=3) as url:
            got = [httpx.get(f"{url}/v1/streams", headers=bearer("x")) for _ in range(3)]
            got += [httpx.get(f"{url}/v1/streams")]
            got += [httpx.post(f"{url}/v1/session", json={"token": "x"})]
            assert [answer.status_code for answer in got] == [401] * 3 + [429] * 2
            # Who has a token is not hindered by who has none.
            assert httpx.get(f"{url}/v1/streams", headers=HEADERS).status_code == 200
            assert all(httpx.get(f"{url}/v1/health").is_success for _ in range(5))

    def test_connections_of_a_token(self, server, store):
        def listen(url, headers):
            return httpx.stream("GET", f"{url}/v1/events", headers=headers)

        with serving_events(server.url, connections_per_token=1) as url:
            token = bearer(store.create("bob", [Scope.EVENTS_READ], now_ns=1))
            with listen(url, token) as first:
                assert first.status_code == 200
                with listen(url, token) as second:
                    second.read()
                    assert "at most 1 open" in problem_of(second, 429)
                    assert second.headers["retry-after"] == "1"
                with listen(url, HEADERS) as other:
                    assert other.status_code == 200

            def has_room() -> bool:
                with listen(url, token) as again:
                    return again.status_code == 200

            wait_for(has_room, "room for a connection")

    def test_large_bodies(self, url):
        def chunks():
            for _ in range(100):
                yield b"x" * 1_000

        for content in (b"x" * 65_537, chunks()):
            answer = httpx.post(f"{url}/v1/session", content=content)
            assert "at most 65536 bytes" in problem_of(answer, 413)
            assert answer.headers["connection"] == "close"

    def test_large_heads(self, url):
        for request in ({"headers": {"X": "x" * 20_000}}, {"params": {"x": "y" * 20_000}}):
            problem_of(httpx.get(f"{url}/v1/health", **request), 431)


class TestReach:
    """Where a gateway may be bound."""

    def test_elsewhere_only_with_tokens(self, server, store):
        with (
            pytest.raises(ConfigError, match="streamer token create") as caught,
            serving_events(server.url, run_token=None, host="0.0.0.0"),
        ):
            pass
        assert "0.0.0.0" in str(caught.value)
        store.create("old", [Scope.ADMIN], now_ns=1, expires_ns=2)
        with pytest.raises(ConfigError), serving_events(server.url, run_token=None, host="0.0.0.0"):
            pass
        token = bearer(store.create("bob", [Scope.ADMIN], now_ns=1))
        with serving_events(server.url, run_token=None, host="0.0.0.0") as url:
            named = {**token, "Host": "cams.example"}
            assert httpx.get(f"{url}/v1/streams", headers=named).status_code == 200

    def test_the_process_says_so_in_one_line(self, server, store):
        del store
        gateway = Gateway(server.url, settings=["gateway.host=0.0.0.0"], run_token=None)
        code, said = gateway.end()
        gateway.close()
        assert code == 2
        assert "there is no valid token" in said
        assert "Traceback" not in said

    def test_a_token_in_a_file_lets_it_start_and_its_bearer_in(self, server, store, tmp_path):
        del store
        secret = "0123456789abcdef" * 4
        (tmp_path / "token").write_text(f"{secret}\n")
        settings = ["gateway.host=0.0.0.0", f"gateway.token_file={tmp_path}/token"]
        gateway = Gateway(server.url, settings=settings, run_token=None)
        try:
            url = f"http://127.0.0.1:{gateway.ready().port}"
            answer = httpx.get(f"{url}/v1/streams", headers=bearer(secret))
            other = httpx.get(f"{url}/v1/streams", headers=bearer(secret[:-1] + "0"))
        finally:
            gateway.close()
        assert (answer.status_code, other.status_code) == (200, 401)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "found 0 characters"),
            (b"short", "at least 32"),
            (b"with blanks in it, and that can't be sent", "letters, digits"),
            (b"\xff" * 40, "expected text"),
            (None, "can't be read (No such file or directory)"),
        ],
    )
    def test_a_file_without_a_good_token(self, server, tmp_path, content, said):
        path = tmp_path / "token"
        if content is not None:
            path.write_bytes(content)
        gateway = Gateway(server.url, settings=[f"gateway.token_file={path}"], run_token=None)
        code, stderr = gateway.end()
        gateway.close()
        assert code == 2
        assert said in stderr
        assert f"gateway.token_file: {path}" in stderr
        assert "Traceback" not in stderr

    def test_on_this_machine_it_waits_for_a_token(self, server, store):
        with serving_events(server.url, run_token=None) as url:
            assert httpx.get(f"{url}/v1/streams").status_code == 401
            token = bearer(store.create("bob", [Scope.ADMIN], now_ns=1))
            wait_for(lambda: httpx.get(f"{url}/v1/streams", headers=token).is_success, "the token")
