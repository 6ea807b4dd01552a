"""What is wrong with the compose file, as far as can be told without running it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any
from unittest import mock

import typer
import yaml

from streamer.cli.app import app
from streamer.cli.settings import load_settings
from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

OURS = "streamer:"
_USAGE_ERROR = typer.BadParameter.__bases__[0]  # typer brings a click of its own
_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::-([^}]*))?\}")
_PINNED = re.compile(r"[\w./-]+:(?!latest$)v?\d[\w.-]*")
_SECRET = re.compile(r"[0-9a-f]{32,}|[A-Za-z0-9_-]{40,}")
_PASSWORD = re.compile(r"(?i)(password|token|secret)(?!.*file)\w*[=:]\s*\S")


def load(text: str) -> dict[str, Any]:
    """The file with its anchors resolved and every variable at its default."""
    document = yaml.safe_load(_VARIABLE.sub(lambda match: match[2] or "", text))
    assert isinstance(document, dict)
    return document


def variables(text: str) -> dict[str, str]:
    """The variables it asks for, with their defaults."""
    return {match[1]: match[2] or "" for match in _VARIABLE.finditer(text)}


def problems(text: str, *, folder: Path) -> list[str]:
    """Everything that is wrong; each a line.

    Args:
        text: Of the file.
        folder: Where it stands, with secrets made.
    """
    document = load(text)
    services: dict[str, Any] = document["services"]
    found = []
    for name, service in services.items():
        of_it = [
            *_closed(service),
            *_image(service),
            *_mounts(service, volumes=document["volumes"], folder=folder),
            *_secrets(service, declared=document["secrets"]),
            *_depends(service, services=services),
        ]
        if service["image"].startswith(OURS):
            of_it += [*_command(service), *_settings(service)]
        found += [f"{name}: {one}" for one in of_it]
    used = {secret for service in services.values() for secret in service.get("secrets", [])}
    found += [f"secret {name} is used by nobody" for name in document["secrets"].keys() - used]
    for name, secret in document["secrets"].items():
        if not (folder / secret["file"]).is_file():
            found.append(f"secret {name}: {secret['file']} is not made")
    return found + [
        f"line {number}: a secret" for number, line in enumerate(text.splitlines(), 1)
        if _SECRET.search(line)
    ]  # fmt: skip


def _closed(service: Mapping[str, Any]) -> Iterator[str]:
    # The GPU exporter's entry point writes to its root file system, with an engine's usual rights.
    usual = "dcgm" in service["image"]
    if service.get("read_only") is not True and not usual:
        yield "its root file system can be written to"
    dropped = [] if usual else ["ALL"]
    if service.get("cap_drop") != dropped or service.get("cap_add") or service.get("privileged"):
        yield "it has capabilities"
    if service.get("security_opt") != ["no-new-privileges"]:
        yield "it may gain privileges"
    # What `up` does not start is not to come back by itself either.
    if service.get("restart") not in (
        ["no"] if service.get("profiles") == ["tools"] else ["unless-stopped", "on-failure"]
    ):
        yield "it does not come back"
    if "max-size" not in service.get("logging", {}).get("options", {}):
        yield "its logs grow without end"
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    yield from (f"no limit of {what}" for what in ("memory", "pids") if what not in limits)
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"port {port} is open to the network"


def _image(service: Mapping[str, Any]) -> Iterator[str]:
    image = service["image"]
    if not _PINNED.fullmatch(image):
        yield f"expected an image with a version, found {image}"
    if image.startswith(OURS):
        if "build" not in service:
            yield "nobody builds its image"
        return
    user = str(service.get("user", "0")).split(":")[0]
    # The GPU exporter's image needs root to reach the driver.
    if user == "0" and "dcgm" not in image:
        yield "it runs as root"
    if "healthcheck" not in service:
        yield "no health check"


def _mounts(
    service: Mapping[str, Any], *, volumes: Mapping[str, Any], folder: Path
) -> Iterator[str]:
    for mount in service.get("volumes", []):
        if isinstance(mount, dict):
            source, target, mode = mount["source"], mount["target"], []
            nocopy = mount.get("volume", {}).get("nocopy")
        else:
            source, target, *mode = mount.split(":")
            nocopy = False
        if target == "/dev/shm" and not nocopy:
            yield "Docker would give its frames the owner of the image's /dev/shm"
        if source.startswith("."):
            if not (folder / source).exists():
                yield f"{source} does not exist"
            if mode != ["ro"]:
                yield f"{source} can be written to"
        elif source not in volumes:
            yield f"no volume {source}"
        if not target.startswith("/"):
            yield f"{target} is no path"
    if "build" in service:
        arguments = service["build"].get("args", {})
        if f":{arguments.get('VERSION')}-" not in service["image"]:
            yield f"expected the version of {service['image']} as VERSION, found {arguments}"
        context = (folder / service["build"]["context"]).resolve()
        if not (context / service["build"]["dockerfile"]).is_file():
            yield "no Dockerfile there"


def _secrets(service: Mapping[str, Any], *, declared: Mapping[str, Any]) -> Iterator[str]:
    wanted = set(service.get("secrets", []))
    yield from (f"no secret {name}" for name in wanted - declared.keys())
    environment = service.get("environment", {})
    for name, value in environment.items():
        if _PASSWORD.search(f"{name}={value}"):
            yield f"{name} holds a secret"
        path = str(value).removeprefix("/run/secrets/")
        if path != str(value) and path not in wanted:
            yield f"{name}: {value} is not mounted"
    spoken = str(service.get("healthcheck", "")) + str(service.get("command", ""))
    for name in set(re.findall(r"/run/secrets/([\w.-]+)", spoken)) - wanted:
        yield f"/run/secrets/{name} is not mounted"


def _depends(service: Mapping[str, Any], *, services: Mapping[str, Any]) -> Iterator[str]:
    for name, how in service.get("depends_on", {}).items():
        if name not in services:
            yield f"depends on {name}, which is no service"
            continue
        ends = services[name].get("restart") == "on-failure"
        expected = "service_completed_successfully" if ends else "service_healthy"
        if how["condition"] != expected:
            yield f"depends on {name}, {how['condition']}: that is never so"


def _command(service: Mapping[str, Any]) -> Iterator[str]:
    """Whether the command line takes it. A shell's words are looked at one command at a time."""
    entry = service.get("entrypoint")
    lines = [list(service["command"])] if entry is None else [
        part.split(">")[0].split()[1:] for part in entry[-1].split(";") if "streamer" in part
    ]  # fmt: skip
    for words in lines:
        try:
            parse(words)
        except (_USAGE_ERROR, ConfigError) as error:
            yield f"{' '.join(words)}: {error}"


def parse(words: list[str]) -> None:
    """Take a command line of `streamer` apart, without doing what it says.

    Raises:
        _USAGE_ERROR: There is no such command, or it takes no such words.
    """
    command, name = typer.main.get_command(app), "streamer"
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, list(words))
        rest = [*context._protected_args, *context.args]
        found, command, words = command.resolve_command(context, rest)
        assert command is not None
        name = found or name
    command.make_context(name, list(words))


def _settings(service: Mapping[str, Any]) -> Iterator[str]:
    environment = {
        name: str(value)
        for name, value in service.get("environment", {}).items()
        if name.startswith("STREAMER_")
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMER_")}
    with mock.patch.dict(os.environ, kept | environment, clear=True):
        try:
            load_settings()
        except ConfigError as error:
            yield str(error)
