from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.errors import ConfigError
from streamer.sources.credentials import (
    join_credentials,
    redact,
    resolve_credentials,
    split_credentials,
)

if TYPE_CHECKING:
    from pathlib import Path

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://u:secret@cam/1", "rtsp://***@cam/1"),
        ("rtsp://secret@cam", "rtsp://***@cam"),
        ("can't open 'https://u:secret@h:8/x', sorry", "can't open 'https://***@h:8/x', sorry"),
        ("rtsp://u:se@cret@cam/1", "rtsp://***@cam/1"),
        ("rtsp://u:se/cret@cam/1", "rtsp://***@cam/1"),
        ("rtsp://u:se#cret@cam/1", "rtsp://***@cam/1"),
        ("rtsp://u:se?cret@cam/1", "rtsp://***@cam/1"),
        ("http://h/v?user=secret&password=secret&x=1", "http://h/v?user=***&password=***&x=1"),
        ("http://h/v?Token=secret", "http://h/v?Token=***"),
        ("redis+cluster://u:secret@h:1,i:2", "redis+cluster://***@h:1,i:2"),
        (
            "redis+sentinel://h/m?sentinel_password=secret",
            "redis+sentinel://h/m?sentinel_password=***",
        ),
        ("rtsp://a:secret@h/ rtsp://b:secret@h/", "rtsp://***@h/ rtsp://***@h/"),
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),
        ("write to me@example.org", "write to me@example.org"),
    ],
)
def test_redacts(text: str, expected: str) -> None:
    assert redact(text) == expected


@given(TEXT, TEXT)
def test_credentials_survive_a_round_trip_and_never_show(user: str, password: str) -> None:
    url = "rtsp://cam.example:554/live/1?x=2"
    joined = join_credentials(url, (user, password))
    assert split_credentials(joined) == (url, (user, password))
    assert redact(joined) == "rtsp://***@cam.example:554/live/1?x=2"


def test_a_url_without_credentials_stays_as_it_is() -> None:
    assert split_credentials("http://h:80/a@b?c#d") == ("http://h:80/a@b?c#d", None)
    assert join_credentials("rtsp://h/", None) == "rtsp://h/"


def test_an_unescaped_slash_in_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="%XX") as caught:
        split_credentials("rtsp://user:hid/den@cam/1")
    assert "hid" not in str(caught.value)
    assert "den" not in str(caught.value)


def test_references(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("admin:pass:word\n")
    assert resolve_credentials(f"file:{secret}") == ("admin", "pass:word")
    assert resolve_credentials("env:X", environment={"X": "u:p"}) == ("u", "p")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("env:NOT_THERE", "NOT_THERE is not set"),
        ("file:/not/there", "No such file"),
        ("env:BAD", "no colon"),
        ("admin:secret", "expected env:NAME"),
        ("env:", "expected env:NAME"),
    ],
)
def test_references_that_lead_nowhere(reference: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolve_credentials(reference, environment={"BAD": "secret"})
    assert "secret" not in str(caught.value)
