"""A gateway with a certificate, and what is said about files that are none."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess

import httpx
import pytest

from streamer.core.config import GatewaySettings
from streamer.core.errors import ConfigError
from tests.gateways import HEADERS, serving_events
from workers.gateway.tls import tls_context


@pytest.fixture(scope="module")
def openssl():
    program = shutil.which("openssl")
    if program is None:
        reason = "there is no openssl to make a certificate with"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    def run(*arguments) -> None:
        subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)

    return run


@pytest.fixture(scope="module")
def folder(openssl, tmp_path_factory):
    """Two certificates with their keys, and one key with a password."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("own", "other"):
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"),
        )
    openssl(
        *("pkcs8", "-topk8", "-in", folder / "own.key", "-out", folder / "locked.key"),
        *("-passout", "pass:hunter2"),
    )
    (folder / "text").write_text("not PEM")
    (folder / "bytes").write_bytes(bytes(range(256)))
    (folder / "broken.crt").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    return folder


def test_it_serves_with_tls_and_only_with_tls(valkey, folder):
    files = {"tls_certificate": str(folder / "own.crt"), "tls_key": str(folder / "own.key")}
    trusting = ssl.create_default_context(cafile=str(folder / "own.crt"))
    with serving_events(valkey.url, **files) as url:
        assert url.startswith("https://")
        answer = httpx.get(f"{url}/v1/streams", headers=HEADERS, verify=trusting)
        assert answer.status_code == 200
        session = httpx.post(
            f"{url}/v1/session",
            json={"token": HEADERS["Authorization"].partition(" ")[2]},
            verify=trusting,
        )
        assert "Secure" in session.headers["set-cookie"]
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"{url}/v1/health")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(url.replace("https", "http") + "/v1/health")


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("own.crt", None, "gateway.tls_key: expected a PEM file, found none"),
        (None, "own.key", "gateway.tls_certificate: expected a PEM file, found none"),
        ("missing.crt", "own.key", "missing.crt: can't be read (No such file or directory)"),
        ("own.crt", "missing.key", "missing.key: can't be read (No such file or directory)"),
        ("text", "own.key", "text: expected PEM with a CERTIFICATE"),
        ("bytes", "own.key", "bytes: expected PEM with a CERTIFICATE"),
        ("own.crt", "own.crt", "own.crt: expected PEM with a PRIVATE KEY"),
        ("own.crt", "other.key", "other.key: expected a certificate and its own key"),
        ("broken.crt", "own.key", "broken.crt and gateway.tls_key"),
        ("own.crt", "locked.key", "locked.key: expected a key without a password"),
    ],
)
def test_files_that_can_not_be_used_are_named(folder, certificate, key, said):
    settings = GatewaySettings(
        tls_certificate=certificate and str(folder / certificate),
        tls_key=key and str(folder / key),
    )
    with pytest.raises(ConfigError) as caught:
        tls_context(settings)
    assert said in str(caught.value)


def test_without_files_there_is_no_tls():
    assert tls_context(GatewaySettings()) is None
