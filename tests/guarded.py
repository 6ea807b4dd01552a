"""Servers whose default user is off, and workers that each come as a user of their own."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Self

import redis
from typer.testing import CliRunner

from streamer.cli.app import app
from streamer.transport.access import RedisAccess
from streamer.transport.acl import user_rules
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.permissions import Grants, Role
from tests.loopback import free_port, listening
from tests.servers import binary_of
from tests.workers import Farm

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from click.testing import Result

    from streamer.runtime.supervisor import Worker

ALL = os.environ.get("TEST_REDIS") == "all"
"""Set by `make test-redis`: everything on both kinds of servers."""

ROOT = "root"
"""A user of tests, who may do everything."""


def password_of(role: str) -> str:
    """Of a role's user."""
    return f"pa,ss@w/rd of {role}"


class GuardedServer:
    """Runs while entered, with the ACL file that `streamer redis acl` prints, and one user more.

    Args:
        kind: `valkey` or `redis`.
        folder: Where secrets and the ACL file are.
        options: Further configuration directives.
    """

    def __init__(
        self, kind: str, folder: Path, *, options: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.acl_path = folder / "users.acl"
        self.acl_path.touch()
        for role in Role:
            self.secret(role).write_text(password_of(role) + "\n")
        self.secure = "tls-cert-file" in (options or {})
        ports = listening(self.port)
        if self.secure:
            ports |= {"port": "0", "tls-port": str(self.port)}
        self.server = EmbeddedValkey(
            {**ports, "aclfile": str(self.acl_path), **(options or {})}, binary=binary_of(kind)
        )
        self._stack = contextlib.ExitStack()

    @property
    def url(self) -> str:
        """Without a user."""
        return f"{'rediss' if self.secure else 'redis'}://127.0.0.1:{self.port}"

    @property
    def root_url(self) -> str:
        """For who may do everything."""
        return f"redis://{ROOT}:{ROOT}@127.0.0.1:{self.port}"

    def secret(self, role: str) -> Path:
        """The file with a user's password."""
        return self.folder / f"redis-{role}"

    def access(self, role: str) -> RedisAccess:
        """Of a role."""
        return RedisAccess(username=str(role), password_file=str(self.secret(role)))

    def environment(self, role: str) -> dict[str, str]:
        """The same, for commands and workers."""
        return {
            "STREAMER_REDIS__URL": self.url,
            "STREAMER_REDIS__USERNAME": str(role),
            "STREAMER_REDIS__PASSWORD_FILE": str(self.secret(role)),
        }

    def command(self, role: str, *words: str) -> Result:
        """A command of `streamer`, as a user; it has to succeed."""
        result = CliRunner().invoke(app, words, env=self.environment(role))
        assert result.exit_code == 0, (words, result.output, result.exception)
        return result

    def write_users(self) -> None:
        """The ACL file, by the command."""
        result = CliRunner().invoke(app, ["redis", "acl", "--secrets", str(self.folder)])
        assert result.exit_code == 0, result.output
        for role in Role:
            assert password_of(role) not in result.output
        self.acl_path.write_text(f"{result.stdout}user {ROOT} on >{ROOT} ~* &* +@all\n")

    def grant(self, grants: Grants) -> None:
        """Let a role's user do just this."""
        rules = user_rules(grants, [password_of(grants.role)])
        self.root.execute_command("ACL", "SETUSER", str(grants.role), "reset", *rules)

    def denials(self) -> list[Any]:
        """What the server has refused since it was asked last."""
        with self.as_root(decode_responses=True) as client:
            found = client.acl_log()
            client.acl_log_reset()
        return [(entry["username"], entry["reason"], entry["object"]) for entry in found]

    def as_root(self, **options: Any) -> redis.Redis:
        """A connection of who may do everything."""
        socket = self.server.url.removeprefix("unix://")
        return redis.Redis(
            unix_socket_path=socket, username=ROOT, password=ROOT, protocol=2, **options
        )

    def install(self) -> None:
        """As `streamer redis install`, without the command."""
        with contextlib.closing(connect(self.url, access=self.access(Role.ADMIN))) as client:
            agree(client, keys=Keys())

    def __enter__(self) -> Self:
        self.write_users()
        self._stack.enter_context(self.server)
        self.root = self.as_root()
        self._stack.callback(self.root.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


class GuardedFarm(Farm):
    """Workers that each come as their role's user."""

    def __init__(self, server: GuardedServer, folder: Path) -> None:
        super().__init__(server.root_url, folder)
        self._server = server

    def _worker(self, role: str, settings: dict[str, Any]) -> Worker:
        access = {
            "redis__url": self._server.url,
            "redis__username": role,
            "redis__password_file": str(self._server.secret(role)),
        }
        return super()._worker(role, {**access, **settings})
