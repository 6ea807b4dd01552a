from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from streamer.core.errors import ConfigError
from streamer.sources.av import AvSource
from streamer.sources.credentials import resolve_credentials
from streamer.sources.grammar import SourceSpec, expand_sources, open_source, parse_source
from streamer.sources.synthetic import SyntheticSource
from streamer.testing.clock import ManualClock

if TYPE_CHECKING:
    from pathlib import Path


def ids(specs: list[SourceSpec]) -> list[str]:
    return [spec.stream_id for spec in specs]


@pytest.mark.parametrize(
    ("text", "stream_id", "url", "options"),
    [
        ("0", "video0", "/dev/video0", {}),
        ("/dev/video12", "video12", "/dev/video12", {}),
        ("door=2", "door", "/dev/video2", {}),
        ("rtsp://cam/1", "cam1", "rtsp://cam/1", {}),
        ("rtsps://cam:322/1?a=b", "cam1", "rtsps://cam:322/1?a=b", {}),
        ("RTSP://cam/1", "cam1", "rtsp://cam/1", {}),
        ("gate = rtsp://cam/1#udp", "gate", "rtsp://cam/1", {"transport": "udp"}),
        ("https://h/live.m3u8", "cam1", "https://h/live.m3u8", {}),
        ("dir/my clip.mp4", "my-clip", "dir/my clip.mp4", {}),
        ("clip.mp4#loop", "clip", "clip.mp4", {"loop": "true"}),
        ("clip.mp4#loop,realtime", "clip", "clip.mp4", {"loop": "true", "realtime": "true"}),
        ("clip.mp4#loop#realtime", "clip", "clip.mp4", {"loop": "true", "realtime": "true"}),
        ("synthetic:workcell", "workcell", "synthetic:workcell", {}),
        ("synthetic:workcell?seed=3", "workcell-3", "synthetic:workcell?seed=3", {}),
        ("ünïcode.mp4", "n-code", "ünïcode.mp4", {}),
    ],
)
def test_forms(text: str, stream_id: str, url: str, options: dict[str, str]) -> None:
    spec = parse_source(text)
    assert spec == SourceSpec(stream_id=stream_id, url=url, options=options)
    assert msgspec.json.decode(msgspec.json.encode(spec), type=SourceSpec) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://host/x", "unknown scheme ftp://"),
        ("clip.mp4#lop", "expected: #loop, #realtime"),
        ("rtsp://cam/1#loop", "expected: #tcp, #udp"),
        ("0#loop", "expected: none"),
        ("synthetic:nowhere", "synthetic:workcell"),
        ("synthetic:workcell?sed=1", "unknown option 'sed'"),
        ("synthetic:workcell?seed=x", "seed"),
        ("rtsp://cam/1#credentials=secret", "env:NAME"),
        (f"{'n' * 65}=clip.mp4", "at most 64"),
        ("nothing/*.mp4", "expected files, found none"),
        ("none.streams", "one source per line"),
        ("", "expected a source"),
    ],
)
def test_what_can_not_be_read(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand_sources([text])


def test_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least one source"):
        expand_sources([])


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\*.mp4"):
        expand_sources([str(tmp_path)])


def test_derived_names_are_unique_and_typed_ones_stay() -> None:
    specs = expand_sources(
        ["a/clip.mp4", "rtsp://x/", "b/clip.mp4", "cam2=rtsp://y/", "rtsp://z/", "clip-2=c.mp4"]
    )
    assert ids(specs) == ["clip", "cam1", "clip-3", "cam2", "cam3", "clip-2"]
    with pytest.raises(ConfigError, match="a: expected each name once"):
        expand_sources(["a=x.mp4", "a=y.mp4"])


def test_a_glob(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    specs = expand_sources([f"{tmp_path}/*.mp4#loop"])
    assert ids(specs) == ["a", "b"]
    assert specs[0].url == str(tmp_path / "a.mp4")
    assert specs[1].options == {"loop": "true"}
    assert ids(expand_sources([f"x={tmp_path}/*.mp4"])) == ["x-1", "x-2"]


def test_a_file_wins_over_a_reading_of_its_name(tmp_path: Path) -> None:
    for name in ("a=b.mp4", "c#1.mp4", "d[1].mp4"):
        (tmp_path / name).touch()
    texts = ["a=b.mp4", "c#1.mp4", "c#1.mp4#loop", "d[1].mp4", "d[1].mp4#loop"]
    specs = expand_sources([f"{tmp_path}/{text}" for text in texts])
    assert [spec.url.rpartition("/")[2] for spec in specs] == [
        "a=b.mp4",
        "c#1.mp4",
        "c#1.mp4",
        "d[1].mp4",
        "d[1].mp4",
    ]
    assert [bool(spec.options) for spec in specs] == [False, False, True, False, True]


def test_a_list(tmp_path: Path) -> None:
    (tmp_path / "more.streams").write_text("clip.mp4#realtime\n")
    site = tmp_path / "site.streams"
    site.write_text(
        "# the cameras of one site\n\n"
        "gate = rtsp://10.0.0.1/live#udp\n"
        "  rtsp://10.0.0.2/live#credentials=env:DOOR\n"
        f"{tmp_path}/more.streams\n"
    )
    specs = expand_sources([str(site), "synthetic:workcell"])
    assert ids(specs) == ["gate", "cam1", "clip", "workcell"]
    assert specs[1].credentials == "env:DOOR"
    assert specs[1].url == "rtsp://10.0.0.2/live"


def test_a_list_that_lists_itself(tmp_path: Path) -> None:
    site = tmp_path / "site.streams"
    site.write_text(f"{site}\n")
    with pytest.raises(ConfigError, match="lists itself"):
        expand_sources([str(site)])


def test_typed_credentials_go_into_the_vault_only() -> None:
    vault: dict[str, str] = {}
    specs = expand_sources(
        ["rtsp://admin:s%40cret@cam/1#udp", "b=https://u:other@cam/2"], vault=vault
    )
    assert "cret" not in msgspec.json.encode(specs).decode()
    assert "other" not in repr(specs)
    assert [spec.url for spec in specs] == ["rtsp://cam/1", "https://cam/2"]
    got = [resolve_credentials(spec.credentials, environment=vault) for spec in specs]
    assert got == [("admin", "s@cret"), ("u", "other")]


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:qwxzzk@cam/1",
        "rtsp://admin:qwx#zzk@cam/1",
        "rtsp://admin:qwx/zzk@cam/1",
        "ftp://admin:qwxzzk@cam/1",
    ],
)
def test_no_error_shows_credentials(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source(text)
    assert "qwx" not in str(caught.value)
    assert "zzk" not in str(caught.value)


def test_open_source(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    looped = open_source(parse_source("clip.mp4#loop,realtime"), clock=clock)
    assert isinstance(looped, AvSource)
    assert (looped.live, looped.endless) == (True, True)
    scene = open_source(parse_source("synthetic:workcell?seed=1&fps=5"), clock=clock)
    assert isinstance(scene, SyntheticSource)
    assert scene.fps == 5
    spec = parse_source("rtsp://cam/1#credentials=env:DOOR")
    monkeypatch.delenv("DOOR", raising=False)
    with pytest.raises(ConfigError, match="DOOR is not set"):
        open_source(spec, clock=clock)
    monkeypatch.setenv("DOOR", "admin:secret")
    assert "secret" not in repr(open_source(spec, clock=clock))
    broken = SourceSpec(stream_id="a", url="rtsp://cam/", options={"transport": "smoke"})
    with pytest.raises(ConfigError, match="tcp or udp"):
        open_source(broken, clock=clock)
