"""Connections that fail when told to, to a server that can forget its newest writes."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING, Any

import redis

from streamer.transport.connection import PREFIX, Threads, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE_SECONDS = 20.0
NUM_REMEMBERED = 16


class Fault(StrEnum):
    """What becomes of one command."""

    UNSENT = "unsent"
    UNANSWERED = "unanswered"
    """It is executed; who sent it sees an error."""
    HALF = "half"
    """Of a pipeline, the first command is executed."""


class Killed(Exception):
    """The end of a worker."""


@dataclass(frozen=True)
class Contents:
    """All keys of a server.

    Attributes:
        dumps: By name, what DUMP gives.
        meaning: The same, but of leases without the time they end, so that it is the same each run.
    """

    dumps: dict[bytes, bytes] = field(compare=False)
    meaning: dict[bytes, Any]


class Server:
    """A server as seen by who looks after it: past contents, and what was ever answered.

    Args:
        url: Where it is. It belongs to this object alone.
    """

    def __init__(self, url: str) -> None:
        self.client = connect(url, threads=Threads.ONE)
        self.library = resources.files("streamer.transport").joinpath("functions.lua").read_text()
        self.past: list[Contents] = []
        self.seen: Counter[str] = Counter()
        self.strangers: list[str] = []
        """Owners who wrote without the lease."""

    def load(self, library: str) -> None:
        """Let these be the server's functions."""
        self.client.function_load(library, replace=True)

    def clear(self) -> None:
        """Begin anew."""
        self.client.flushall()
        self.past.clear()
        self.strangers.clear()

    def contents(self) -> Contents:
        """What there is now."""
        names: Any = sorted(self.client.keys("*"))
        leases = [name for name in names if name.endswith(b":lease")]
        pipeline = self.client.pipeline(transaction=False)
        for name in names:
            pipeline.dump(name)
        for name in leases:
            pipeline.hmget(name, "owner", "generation", "expires_ms")
        answers = pipeline.execute()
        dumps = dict(zip(names, answers, strict=False))
        meaning: dict[bytes, Any] = dict(dumps)
        for name, (owner, generation, end) in zip(leases, answers[len(names) :], strict=True):
            meaning[name] = (owner, generation, end == b"0")
        return Contents(dumps, meaning)

    def remember(self) -> None:
        """Before a write: what there is."""
        now = self.contents()
        if not self.past or self.past[-1] != now:
            self.past.append(now)
            del self.past[:-NUM_REMEMBERED]

    def roll_back(self, writes: int) -> bool:
        """Undo the last writes. False if there are none."""
        now = self.contents()
        while self.past and self.past[-1] == now:
            self.past.pop()
        if not self.past:
            return False
        del self.past[max(1, len(self.past) - writes + 1) :]
        pipeline = self.client.pipeline(transaction=False)
        pipeline.flushall()
        for name, dump in self.past.pop().dumps.items():
            pipeline.restore(name, 0, dump)
        pipeline.execute()
        return True


@dataclass
class Gate:
    """Where a thread is held just before it commits."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    killed: bool = False

    def wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_SECONDS)
        if self.killed:
            raise Killed


class Wire:
    """One client of the server. Before each of its writes the server remembers."""

    def __init__(self, server: Server, url: str) -> None:
        self._server = server
        self.client = connect(url, threads=Threads.ONE)
        self.gate: Gate | None = None
        self._fault: Fault | None = None
        self._after = 0
        execute, make = self.client.execute_command, self.client.pipeline

        def execute_command(*args: Any, **options: Any) -> Any:
            return self._send([args], lambda _: [execute(*args, **options)])[0]

        def pipeline(*, transaction: bool = True) -> Any:
            made = make(transaction=transaction)
            run = made.execute

            def execute_all(*, raise_on_error: bool = True) -> Any:
                commands = [command[0] for command in made.command_stack]

                def first(num: int) -> Any:
                    made.command_stack = made.command_stack[:num]
                    return run(raise_on_error=raise_on_error)

                return self._send(commands, first)

            made.execute = execute_all
            return made

        self.client.execute_command = execute_command
        self.client.pipeline = pipeline

    def reset(self) -> None:
        """All is well."""
        self.gate, self._fault = None, None

    def fail(self, fault: Fault | None, after: int = 0) -> None:
        """Let one command fail, after some that don't; None: none."""
        self._fault, self._after = fault, after

    def _send(self, commands: Sequence[tuple[Any, ...]], run: Callable[[int], list[Any]]) -> Any:
        calls = [command for command in commands if command[0] == "FCALL"]
        if self.gate is not None and any(call[1] == f"{PREFIX}commit" for call in calls):
            gate, self.gate = self.gate, None
            gate.wait()
        fault, num = self._due(), len(commands)
        if fault is Fault.UNSENT:
            raise redis.ConnectionError("it was not sent")
        if fault is Fault.HALF:
            num = (num + 1) // 2
        if calls:
            self._server.remember()
        owners = [self._server.client.hget(call[3], "owner") for call in calls]
        answers = run(num)
        for call, owner, answer in zip(calls, owners, answers, strict=False):
            self._note(call, owner, answer)
        if fault is not None:
            self._server.seen[fault] += 1
            raise redis.ConnectionError("no answer")
        return answers

    def _due(self) -> Fault | None:
        if self._fault is not None and self._after == 0:
            fault, self._fault = self._fault, None
            return fault
        self._after -= 1
        return None

    def _note(self, call: tuple[Any, ...], owner: Any, answers: Any) -> None:
        name = call[1].removeprefix(PREFIX)
        if name == "commit" and isinstance(answers, list):
            me = call[3 + call[2]]
            self._server.seen.update(f"commit {answer.decode()}" for answer in answers)
            if b"ok" in answers and (owner or b"").decode() != me:
                self._server.strangers.append(me)
                self._server.seen["stranger"] += 1
        elif name == "publish" and isinstance(answers, list):
            self._server.seen.update(f"publish {answer[0].decode()}" for answer in answers)
