"""Somebody who types a page's blocks one after the other, in a home of his own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.loopback import free_port
from tests.pages import ROOT, Treatment

if TYPE_CHECKING:
    from types import TracebackType

    from tests.pages import Block

PATIENCE_SECONDS = 60.0
PORTS = ("8080", "6379", "9100", "9101", "9102", "9103")
"""Ports that pages name. Each is replaced by a free one, since tests run beside each other."""

PROGRAMS = {"streamer": "-m streamer.cli.main", "python": ""}
"""What an activated environment has, and how it is called here."""

_NEEDED = {"node": "nodejs", "redis-server": "redis-server", "redis-cli": "redis-server"}
_NOT_INSTALLED_BY_MAKE = {"node"}


def end_daemons(folder: Path) -> None:
    """End what was sent away: it is known by the folder that it works in."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if (place / "cwd").readlink().is_relative_to(folder):
                os.kill(int(place.name), signal.SIGKILL)


class Session:
    """Holds what is in the background, and the variables that blocks have set."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._background: list[tuple[Block, subprocess.Popen[bytes], Path]] = []
        self._ports = {port: str(free_port()) for port in PORTS}

    def __enter__(self) -> Session:
        # A short path: that of a socket has at most 107 bytes. A daemon may still be writing to it.
        lasting = tempfile.TemporaryDirectory(
            prefix="page-", dir="/tmp", ignore_cleanup_errors=True
        )
        folder = self._stack.enter_context(lasting)
        self.home = Path(folder)
        programs = self.home / ".programs"
        programs.mkdir()
        for name, arguments in PROGRAMS.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
            (programs / name).chmod(0o755)
        self._variables = self.home / ".variables"
        self._variables.write_text("")
        (self.home / ".folder").write_text(f"{self.home}\n")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("STREAMER_")}
        self._environment = {
            **kept,
            "HOME": folder,
            "XDG_RUNTIME_DIR": folder,
            "PATH": f"{programs}:{kept['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "120",
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            end_daemons(self.home)
            self._stack.close()

    def do(self, block: Block) -> None:
        """Type it, and see that what is said of it holds."""
        match block.treatment:
            case Treatment.RUN:
                said = self._finish(block, ends_well=True)
            case Treatment.FAILS:
                said = self._finish(block, ends_well=False)
                assert self._local(block.note) in said, (str(block), block.note, said)
            case Treatment.BACKGROUND | Treatment.UNTIL:
                said = self._begin(block)
            case Treatment.BROWSER:
                said = self._browse(block)
            case Treatment.STOP:
                self.stop()
                said = ""
            case Treatment.PARSED | Treatment.SHOWN:
                return
        for line in block.output:
            assert re.search(_pattern(self._local(line)), said, re.MULTILINE), (
                f"{block}: the page says that this is printed:\n{line}\nand it was:\n{said}"
            )

    def stop(self) -> None:
        """Interrupt what is in the background, the newest first."""
        for block, process, output in reversed(self._background):
            _interrupt(process)
            assert process.returncode in (0, 130, -signal.SIGINT), (
                f"{block}: ended with {process.returncode}:\n{output.read_text()}"
            )
        self._background.clear()

    def _local(self, text: str) -> str:
        for port, here in self._ports.items():
            text = re.sub(rf"(?<![\w.]){port}(?!\w)", here, text)
        return text

    def _command(self, block: Block) -> list[str]:
        """The block as a program, which leaves its variables and its folder for the next one."""
        script = self._local(block.script)
        for program, package in _NEEDED.items():
            runs_node = program == "node" and block.language == "js"
            if runs_node or re.search(rf"(^|[\s(]){program} ", script):
                _need(program, package, block)
        if block.language == "python":
            words = f"python - <<'END_OF_BLOCK'\n{script}END_OF_BLOCK"
        elif block.language == "js":
            code = f"$(cat <<'END_OF_BLOCK'\n{script}END_OF_BLOCK\n)"
            words = f'node --input-type=module --eval "{code}"'
        else:
            words = script
        before = f'set -a; . {self._variables}; cd "$(cat {self.home}/.folder)"; set -e'
        after = f"declare -px > {self._variables}; pwd > {self.home}/.folder"
        return ["bash", "-c", f"{before}\n{words}\n{after}"]

    def _finish(self, block: Block, *, ends_well: bool) -> str:
        done = subprocess.run(
            self._command(block),
            cwd=self.home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=10 * PATIENCE_SECONDS,
            check=False,
        )
        assert (done.returncode == 0) is ends_well, (
            f"{block}: ended with {done.returncode}:\n{done.stdout}"
        )
        return done.stdout

    def _begin(self, block: Block) -> str:
        """Start it, and wait for what it is to say."""
        output = self.home / f".said-{block.line}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                self._command(block),
                cwd=self.home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._background.append((block, process, output))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not re.search(_pattern(self._local(block.note)), output.read_text(errors="replace")):
            said = output.read_text(errors="replace")
            assert process.poll() is None, f"{block}: ended before it said {block.note}:\n{said}"
            assert time.monotonic() < deadline, f"{block}: did not say {block.note}:\n{said}"
            time.sleep(0.05)
        if block.treatment is Treatment.UNTIL:
            self._background.pop()
            _interrupt(process)
        return output.read_text(errors="replace")

    def _browse(self, block: Block) -> str:
        from playwright.sync_api import sync_playwright

        written = self._variables.read_text()
        variables = dict(re.findall(r'^declare -x (\w+)="(.*)"$', written, re.MULTILINE))
        said: list[str] = []
        with sync_playwright() as playwright:
            path = _need("chromium", "chromium", block)
            browser = playwright.chromium.launch(executable_path=path)
            page = browser.new_page()
            page.on("console", lambda message: said.append(message.text))
            page.goto(f"{variables['URL']}/schemas/")
            page.evaluate(f"async (token) => {{ {block.code} }}", variables["TOKEN"])
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not any(block.note in line for line in said):
                assert time.monotonic() < deadline, f"{block}: did not say {block.note}: {said}"
                page.wait_for_timeout(20)
            browser.close()
        return "\n".join(said)


def _need(program: str, package: str, block: Block) -> str:
    path = shutil.which(program)
    if path is None:
        if os.environ.get("CI") == "true" and program not in _NOT_INSTALLED_BY_MAKE:
            pytest.fail(f"{block}: {program} is missing; install it (Debian: {package})")
        pytest.skip(f"{block}: needs {program}")
    return path


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(PATIENCE_SECONDS / 2)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pattern(line: str) -> str:
    """What a printed line has to look like: numbers may be others, `…` is anything."""
    parts = re.split(r"(…|\d+|\s+)", line.strip())
    written = {"…": ".*"}
    return "".join(
        written.get(part)
        or (r"\d+" if part.isdigit() else r"\s+" if part.isspace() else re.escape(part))
        for part in parts
        if part
    )
