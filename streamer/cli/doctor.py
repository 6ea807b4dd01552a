"""`streamer doctor`: whether this machine has what is needed."""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import av
import typer

from streamer.cli.running import redis_place
from streamer.core.errors import StreamerError
from streamer.core.extras import how_to_install
from streamer.transport.connection import connect, redis_errors
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.shm import DIRECTORY, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CODECS = ("h264", "hevc", "mjpeg")
MIN_SHM_BYTES = 64 * 2**20
"""About 50 cameras."""
MIN_OPEN_FILES = 1024
MIN_REDIS = (7, 0)


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and, unless it is ok, what to do."""

    verdict: Verdict
    text: str
    advice: str = ""


def doctor(
    *,
    redis: str | None = typer.Option(None, help="A server of your own to check as well."),
    bundle: str = typer.Option("workcell", help="The bundle to check."),
) -> None:
    """Check this machine, a line per part; exit code 1 if something needed is missing."""
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", _python),
        ("video", _video),
        ("onnxruntime", _onnxruntime),
        ("torch", _torch),
        ("valkey", _valkey),
        ("shared memory", _shared_memory),
        ("open files", _open_files),
        ("models", lambda: _models(bundle)),
    ]
    if redis is not None:
        checks.append(("redis", lambda: _redis(redis)))
    verdicts = {finding.verdict for name, check in checks for finding in _report(name, check)}
    if Verdict.FAIL in verdicts:
        raise typer.Exit(1)


def _report(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        for finding in check():
            _print(name, finding)
            yield finding
    except StreamerError as error:
        finding = Finding(Verdict.FAIL, str(error))
        _print(name, finding)
        yield finding


def _print(name: str, finding: Finding) -> None:
    typer.secho(f"{finding.verdict:<5}", fg=_COLOURS[finding.verdict], nl=False)
    advice = f"; {finding.advice}" if finding.advice else ""
    typer.echo(f"{name:<14} {finding.text}{advice}")


def _python() -> Iterator[Finding]:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform != "linux":
        yield Finding(Verdict.FAIL, text, "streamer needs Linux")
    else:
        yield Finding(Verdict.OK, text)


def _video() -> Iterator[Finding]:
    missing = []
    for name in CODECS:
        try:
            av.Codec(name, "r")
        except av.codec.codec.UnknownCodecError:
            missing.append(name)
    version = ".".join(str(part) for part in av.library_versions["libavcodec"])
    text = f"PyAV {av.__version__}, libavcodec {version}"
    if missing:
        advice = "install PyAV from its wheel: pip install --force-reinstall av"
        yield Finding(Verdict.FAIL, f"{text}, without a decoder for {', '.join(missing)}", advice)
    else:
        yield Finding(Verdict.OK, f"{text}, decodes {', '.join(CODECS)}")


def _onnxruntime() -> Iterator[Finding]:
    if importlib.util.find_spec("onnxruntime") is None:
        yield Finding(Verdict.FAIL, "not installed", f"{how_to_install('cpu')} (or gpu)")
        return
    import streamer.models  # noqa: F401  # before onnxruntime: it keeps that from calling home
    import onnxruntime  # isort: skip

    providers = ", ".join(onnxruntime.get_available_providers())
    yield Finding(Verdict.OK, f"{onnxruntime.__version__}, providers: {providers}")


def _torch() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        yield Finding(Verdict.OK, "not installed; needed only for training and GPU encoders")
        return
    try:
        import torch
        import torchvision
    # A torchvision of another torch fails on import with a RuntimeError.
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        advice = f"torch and torchvision have to be of one index; {how_to_install('train')}"
        yield Finding(Verdict.WARN, f"can't be imported ({reason})", advice)
        return
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    cuda = ", ".join(devices) or "no CUDA device"
    yield Finding(Verdict.OK, f"{torch.__version__}, torchvision {torchvision.__version__}, {cuda}")


def _valkey() -> Iterator[Finding]:
    with EmbeddedValkey() as server:
        client = connect(server.url)
        with redis_errors("read version"):
            info: Any = client.info("server")
        client.close()
    version = info.get("valkey_version") or info["redis_version"]
    yield Finding(Verdict.OK, f"the embedded server starts, version {version}")


def _shared_memory() -> Iterator[Finding]:
    if not DIRECTORY.is_dir() or not os.access(DIRECTORY, os.W_OK):
        advice = "mount a tmpfs there, or set ingest.frame_path to redis"
        yield Finding(Verdict.FAIL, f"{DIRECTORY} is not there or not writable", advice)
        return
    status = os.statvfs(DIRECTORY)
    free_bytes = status.f_bavail * status.f_frsize
    text = f"{free_bytes / 2**20:.0f} MiB free in {DIRECTORY}"
    if free_bytes < MIN_SHM_BYTES:
        advice = "make it larger (in a container: --shm-size=256m): a camera needs 1.2 MiB"
        yield Finding(Verdict.WARN, text, advice)
    else:
        yield Finding(Verdict.OK, text)
    removed = sweep()
    if removed:
        yield Finding(Verdict.OK, f"removed {len(removed)} frame ring(s) that a crash left behind")


def _open_files() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"limit {soft} (hard {hard})"
    if soft < MIN_OPEN_FILES:
        yield Finding(Verdict.WARN, text, f"raise it: ulimit -n {MIN_OPEN_FILES}")
    else:
        yield Finding(Verdict.OK, text)


def _models(name: str) -> Iterator[Finding]:
    from streamer.models.bundle import Bundle
    from streamer.models.encoders.registry import open_encoder

    bundle = Bundle.load(name)
    yield Finding(Verdict.OK, f"bundle {bundle.config.name}, {bundle.model_id}")
    encoder = open_encoder(bundle.config.encoder, preprocess=bundle.preprocess)
    encoder_id = encoder.encoder_id
    encoder.close()
    if encoder_id == bundle.config.encoder_id:
        yield Finding(Verdict.OK, f"encoder {bundle.config.encoder}, {encoder_id}")
    else:
        text = (
            f"encoder {bundle.config.encoder}: the bundle expects {bundle.config.encoder_id}, "
            f"found {encoder_id}"
        )
        yield Finding(Verdict.FAIL, text, "reinstall streamer, or train a bundle with this one")


def _redis(url: str) -> Iterator[Finding]:
    place = redis_place(url, "doctor")
    client = connect(place.url, access=place.access)
    try:
        with redis_errors("read version"):
            info: Any = client.info("server")
            memory: Any = client.info("memory")
    finally:
        client.close()
    text = f"version {info['redis_version']}, functions load"
    if tuple(int(part) for part in info["redis_version"].split(".")[:2]) < MIN_REDIS:
        yield Finding(Verdict.FAIL, text, "streamer needs Redis 7.0, or Valkey")
    else:
        yield Finding(Verdict.OK, text)
    policy = memory.get("maxmemory_policy", "unknown")
    if policy != "noeviction" and memory.get("maxmemory"):
        advice = "set maxmemory-policy noeviction: an evicted state or event is lost"
        yield Finding(Verdict.WARN, f"maxmemory-policy is {policy}", advice)
