"""A compose stack of its own, beside whatever else runs: other names, volumes, ports, secrets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

ROOT = Path(__file__).parents[2]
PORTS = ("GATEWAY_PORT", "GRAFANA_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT")
_FIRST_WITH_WORKING_DEPENDENCIES = (5, 6)


class ComposeStack:
    """Runs while entered; its volumes and secrets go with it.

    Args:
        without: Services to leave out, for example one whose image is not here.
        project: Name of the project: containers and volumes begin with it.

    Attributes:
        up_seconds: What `up` took.
        began: When `up` was called, on the monotonic clock.
    """

    def __init__(self, *, without: Sequence[str] = (), project: str = "streamer-measured") -> None:
        self._without = without
        self._project = project
        self._folder = tempfile.TemporaryDirectory(prefix="streamer-compose-")
        self.directory = Path(self._folder.name) / "deploy/compose"
        self._ports = {name: str(port) for name, port in zip(PORTS, _free_ports(), strict=True)}
        self.engine, self._compose = _engine()
        self.began = self.up_seconds = 0.0

    @property
    def token(self) -> str:
        """Of its gateway."""
        return (self.directory / "secrets/gateway-token").read_text().strip()

    def __enter__(self) -> Self:
        shutil.copytree(
            ROOT / "deploy", self.directory.parent, ignore=shutil.ignore_patterns("secrets")
        )
        subprocess.run([self.directory / "secrets.sh"], check=True, stdout=subprocess.DEVNULL)
        lines = [f"  {service}: !reset null" for service in self._without]
        if lines:
            (self.directory / "without.yaml").write_text("\n".join(["services:", *lines, ""]))
        self.compose("config")
        self.began = time.monotonic()
        try:
            self.up()
        except BaseException:
            self.close()
            raise
        self.up_seconds = time.monotonic() - self.began
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def up(self, *arguments: str) -> None:
        """`up`, with images as they are here."""
        # Older Podman can't start what depends on containers that run or have ended:
        # https://github.com/podman-container-tools/podman/pull/26193
        alone = self.engine == "podman" and _podman_version() < _FIRST_WITH_WORKING_DEPENDENCIES
        self.compose("up", "--detach", "--no-build", *(["--no-deps"] if alone else []), *arguments)

    def close(self) -> None:
        """Remove the containers, the volumes and the secrets. Idempotent."""
        if self.directory.exists():
            self.compose("down", "--volumes", "--remove-orphans", "--timeout", "10")
        self._folder.cleanup()

    def compose(self, *arguments: str) -> str:
        """`docker compose ARGUMENTS`; what it said."""
        return self._in_folder([*self._command, *arguments])

    def shell(self, script: str) -> str:
        """Type a script of the documentation; what it said. It says `docker` for the engine."""
        docker = (
            'docker() { if test "$1" = compose; then shift; '
            f'{shlex.join(self._command)} "$@"; else {self.engine} "$@"; fi; }}\n'
        )
        script = script.replace("streamer_", f"{self._project}_")
        return self._in_folder(["bash", "-euo", "pipefail", "-c", docker + script])

    @property
    def _command(self) -> list[str]:
        files = ["--file", "compose.yaml"]
        if (self.directory / "without.yaml").exists():
            files += ["--file", "without.yaml"]
        return [*self._compose, "--project-name", self._project, *files]

    def _in_folder(self, command: Sequence[str]) -> str:
        return _run(command, cwd=self.directory, env={**os.environ, **self._ports})

    def container(self, service: str, number: int = 1) -> str:
        """Its name."""
        joint = "_" if "podman-compose" in self._compose[0] else "-"
        return joint.join([self._project, service, str(number)])

    def run(self, *arguments: str) -> str:
        """The engine's own command, for example `exec`; what it printed."""
        return _run([self.engine, *arguments])

    def logs(self, name: str) -> str:
        """What a container has said so far."""
        command = [self.engine, "logs", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    def inspect(self, name: str) -> Any:
        """What the engine knows of a container or an image."""
        return json.loads(self.run("inspect", name))[0]

    def url(self, service: str) -> str:
        """Where it is published."""
        return f"http://127.0.0.1:{self._ports[f'{service.upper()}_PORT']}"

    def get(self, service: str, path: str, *, token: str | None = None) -> Any:
        """A JSON answer, with the gateway's token unless another is given.

        Raises:
            httpx.HTTPError: There is none, or it is no success.
        """
        answer = httpx.get(f"{self.url(service)}{path}", headers=_bearer(token or self.token))
        return answer.raise_for_status().json()

    @contextlib.contextmanager
    def events(self, *, seconds: float) -> Iterator[Iterator[dict[str, Any]]]:
        """Events as the gateway serves them, from the first one on.

        Args:
            seconds: How long to try, and the longest silence.

        Raises:
            TimeoutError: The gateway does not answer.
        """
        deadline = time.monotonic() + seconds
        url, headers = f"{self.url('gateway')}/v1/events", _bearer(self.token)
        while True:
            try:
                with httpx.stream(
                    "GET", url, params={"since": "10m"}, headers=headers, timeout=seconds
                ) as answer:
                    answer.raise_for_status()
                    yield _events(answer.iter_lines())
                    return
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no events within {seconds:g} s ({error})") from error
            time.sleep(0.1)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data: ") and '"specversion"' in line:
            yield json.loads(line.removeprefix("data: "))


def _engine() -> tuple[str, list[str]]:
    """The engine, and its compose command."""
    engine = _run([str(ROOT / "docker/engine.sh")]).strip()
    if engine == "docker":
        return engine, ["docker", "compose"]
    beside = Path(sys.executable).parent / "podman-compose"
    found = str(beside) if beside.exists() else shutil.which("podman-compose")
    if engine != "podman" or found is None:
        raise SystemExit("expected docker, or podman with podman-compose; found neither")
    return engine, [found]


def _podman_version() -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)", _run(["podman", "--version"]))
    assert found is not None
    return tuple(int(part) for part in found.groups())


def _run(command: Sequence[str], **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        shown = " ".join(map(str, command))
        raise RuntimeError(f"{shown}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _free_ports() -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
