"""What is wrong with a Dockerfile, as far as can be told without building it."""

from __future__ import annotations

import fnmatch
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PINNED = re.compile(r"[\w./-]+:(?!latest$)\w[\w.-]*\d[\w.-]*")
_SECRET = re.compile(r"(?i)(password|passwd|secret|token|api_?key)\s*[=:]\s*\S{8,}")
LABELS = ("title", "version", "revision", "source", "licenses")


@dataclass(frozen=True)
class Instruction:
    """One, with its lines joined."""

    name: str
    text: str
    stage: str


def read(text: str) -> list[Instruction]:
    """All instructions, each with the stage it is in; empty before the first."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found, stage = [], ""
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stage = rest.split(" AS ")[-1].strip()
        if name:
            found.append(Instruction(name, rest.strip(), stage))
    return found


def problems(text: str, *, root: Path) -> list[str]:
    """Everything that is wrong; each a line."""
    instructions = read(text)
    stages = [one.stage for one in instructions if one.name == "FROM"]
    arguments = dict(
        one.text.partition("=")[::2] for one in instructions if one.name == "ARG" and not one.stage
    )
    ignored = (root / ".dockerignore").read_text().splitlines()
    found = []
    for one in instructions:
        if one.name == "FROM":
            found += _base(one, stages=stages, arguments=arguments)
        elif one.name == "COPY":
            found += _copy(one, stages=stages, root=root, ignored=ignored)
        elif one.name == "RUN" and "apt-get install" in one.text:
            if "--no-install-recommends" not in one.text:
                found.append(f"{one.stage}: apt-get install without --no-install-recommends")
        elif one.name == "RUN" and re.search(r"pip install(?! .*--constraint)", one.text):
            found.append(f"{one.stage}: pip install without --constraint")
        if _SECRET.search(one.text):
            found.append(f"{one.stage}: a secret in {one.name}")
    return found + _runtime(instructions)


def chain(instructions: list[Instruction], stage: str) -> list[Instruction]:
    """The instructions of a stage and of those it is built on, the lowest first."""
    own = [one for one in instructions if one.stage == stage]
    below = own[0].text.split(" AS ")[0].strip()
    stages = {one.stage for one in instructions}
    return [*(chain(instructions, below) if below in stages else []), *own]


def _base(one: Instruction, *, stages: list[str], arguments: dict[str, str]) -> list[str]:
    name = one.text.split(" AS ")[0].strip()
    name = re.sub(r"\$\{(\w+)\}", lambda match: arguments.get(match[1], ""), name)
    if name in stages or _PINNED.fullmatch(name):
        return []
    return [f"{one.stage}: expected a stage or an image with a version, found {name!r}"]


def _copy(one: Instruction, *, stages: list[str], root: Path, ignored: list[str]) -> list[str]:
    words = shlex.split(one.text)
    options = [word for word in words if word.startswith("--")]
    sources = [word for word in words if not word.startswith("--")][:-1]
    from_stage = [option.partition("=")[2] for option in options if option.startswith("--from=")]
    if from_stage:
        return [
            f"{one.stage}: no stage {from_stage[0]}" for _ in [0] if from_stage[0] not in stages
        ]
    found = [
        f"{one.stage}: {path} does not exist" for path in sources if not (root / path).exists()
    ]
    # The last pattern that matches decides: https://docs.docker.com/build/concepts/context/
    for path in sources:
        top = path.split("/")[0]
        hits = [line for line in ignored if fnmatch.fnmatch(top, line.removeprefix("!"))]
        if hits and not hits[-1].startswith("!"):
            found.append(f"{one.stage}: {path} is left out by .dockerignore")
    return found


def _runtime(instructions: list[Instruction]) -> list[str]:
    found = []
    for target in ("cpu", "gpu"):
        if target not in {one.stage for one in instructions}:
            found.append(f"{target}: no such target")
            continue
        below = chain(instructions, target)
        said = {one.name: one.text for one in below}
        user = said.get("USER", "root").split(":")[0]
        if not user.isdecimal() or user == "0":
            found.append(f"{target}: expected a user by number, not root; found {user}")
        if "HEALTHCHECK" not in said or "ENTRYPOINT" not in said:
            found.append(f"{target}: no health check or no entry point")
        labels = " ".join(one.text for one in below if one.name == "LABEL")
        found += [
            f"{target}: no label {label}"
            for label in LABELS
            if f"org.opencontainers.image.{label}=" not in labels
        ]
        installed = " ".join(one.text for one in below if one.name == "RUN")
        found += [
            f"{target}: has {tool}"
            for tool in ("python3-venv", "gcc", "build-essential", "python3-pip")
            if re.search(rf"\b{tool}\b", installed)
        ]
    return found
