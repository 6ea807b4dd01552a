"""`streamer redis`: the server's users and functions, and whether a user may do its work."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path  # typer reads it
from typing import TYPE_CHECKING

import typer

from streamer.cli.running import Place, redis_place
from streamer.cli.settings import load_settings
from streamer.core.errors import ConfigError
from streamer.transport.acl import acl_file, acl_template, read_passwords
from streamer.transport.cluster import ClusterClient
from streamer.transport.connection import connect, redis_errors
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.permissions import Role, permissions_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis as redis_package

redis_app = typer.Typer(no_args_is_help=True, help="The server: its users, its functions.")

_REDIS = typer.Option(None, help="The server. Default: the pipeline running, or redis.url.")
_CONFIG = typer.Option(None, help="Settings. Default: streamer.toml, if any.")
_ASSIGNED = re.compile(r"(?P<role>[a-z]+)=(?P<value>.+)")


@redis_app.command("acl")
def acl(
    *,
    secrets: Path | None = typer.Option(
        None, help="Folder of password files, redis-ROLE each. Every line is a valid password."
    ),
    template: bool = typer.Option(
        False, "--template", help="Without passwords: SHA256_OF_ROLE in their places."
    ),
    role: list[Role] = typer.Option([], help="Only this role; repeatable. Default: by the files."),
    user: list[str] = typer.Option(
        [], metavar="ROLE=NAME", help="Another name for a role's user; repeatable."
    ),
    cluster: bool = typer.Option(False, "--cluster", help="Also what a cluster needs."),
) -> None:
    """Print an ACL file: a user per role, with what it needs and nothing else.

    Passwords stand in it as SHA-256. The user `default` is switched off.
    """
    if template:
        print(acl_template(), end="")
        return
    if secrets is None:
        raise ConfigError("redis acl: expected --secrets DIR, or --template; found neither")
    wanted = role or [one for one in Role if (secrets / f"redis-{one}").exists()]
    if not wanted:
        raise ConfigError(
            f"redis acl: {secrets}: expected a file redis-ROLE for each user, for example "
            f"redis-{Role.INGEST}; found none"
        )
    passwords = {one: read_passwords(secrets / f"redis-{one}", of="redis acl") for one in wanted}
    names = dict(_assigned(one) for one in user)
    print(acl_file(passwords, names=names, cluster=cluster), end="")


@redis_app.command("install")
def install(*, redis: str | None = _REDIS, config: Path | None = _CONFIG) -> None:
    """Load the functions, and write down how many partitions there are. As user admin.

    Workers whose users may not do this need it once, before their first start, and again with each
    new version. A second time changes nothing.
    """
    settings = load_settings(file=config)
    with _connected(redis, "redis install") as client:
        agree(client, keys=Keys(settings.redis.partitions))
    print(f"functions are loaded, partitions: {settings.redis.partitions}")


@redis_app.command("reload")
def reload(*, redis: str | None = _REDIS) -> None:
    """Have the server read its ACL file again. As user admin."""
    with _connected(redis, "redis reload") as client, redis_errors("ACL LOAD"):
        nodes = client.primaries() if isinstance(client, ClusterClient) else [client]
        for node in nodes:
            node.acl_load()
    print("the server has read its users again")


@redis_app.command("check")
def check(
    role: Role = typer.Argument(help="What the user is to do."), *, redis: str | None = _REDIS
) -> None:
    """Check that the settings' user may do all that a role does. Changes nothing."""
    place = redis_place(redis, "redis check")
    connect(place.url, access=place.access, role=role).close()
    print(f"the user may do all that {role} does")


@redis_app.command("permissions")
def permissions() -> None:
    """Print which commands on which keys each role needs, as a table in Markdown."""
    print(permissions_table(), end="")


@contextlib.contextmanager
def _connected(url: str | None, command: str) -> Iterator[redis_package.Redis]:
    place: Place = redis_place(url, command)
    with contextlib.closing(connect(place.url, access=place.access)) as client:
        yield client


def _assigned(text: str) -> tuple[Role, str]:
    match = _ASSIGNED.fullmatch(text)
    if match is None or match["role"] not in list(Role):
        raise ConfigError(
            f"--user: expected ROLE=NAME, ROLE one of {', '.join(Role)}; found {text!r}"
        )
    return Role(match["role"]), match["value"]
