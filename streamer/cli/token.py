"""`streamer token`: who may use the gateways."""

from __future__ import annotations

import json as json_module
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from streamer.cli.running import redis_place
from streamer.core.errors import ConfigError
from streamer.transport.connection import connect_to_read
from streamer.transport.keys import Keys
from streamer.transport.tokens import Scope, TokenEntry, TokenStore

if TYPE_CHECKING:
    import redis as redis_package

token_app = typer.Typer(no_args_is_help=True, help="Access tokens of the gateways.")

_REDIS = typer.Option(None, help="Redis of the gateways. Default: the pipeline running.")
_DURATION = re.compile(r"(?P<number>[0-9]+)(?P<unit>[mhd])")
_UNIT_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


@token_app.command("create")
def create(
    name: str = typer.Argument(help="Whose it is, for the list: letters, digits, `.`, `_`, `-`."),
    *,
    scope: list[Scope] = typer.Option(
        [Scope.EVENTS_READ], help="events:read, streams:write (includes it), admin (all)."
    ),
    expires: str | None = typer.Option(None, help="End after 30m, 12h or 90d. Default: never."),
    redis: str | None = _REDIS,
) -> None:
    """Make a token and print it, this once: only its hash is kept."""
    now_ns = time.time_ns()
    expires_ns = None if expires is None else now_ns + _seconds(expires) * 10**9
    client = _connect("token create", redis)
    try:
        token = TokenStore(client, keys=Keys()).create(
            name, scope, now_ns=now_ns, expires_ns=expires_ns
        )
    finally:
        client.close()
    print(token)
    print(
        "streamer: keep it: it is not shown again. Use it as `Authorization: Bearer …`, "
        "`--token env:NAME`, or in the variable STREAMER_TOKEN",
        file=sys.stderr,
    )


@token_app.command("list")
def list_tokens(
    *,
    redis: str | None = _REDIS,
    json: bool = typer.Option(False, "--json", help="JSON on stdout, nothing else."),
) -> None:
    """List the tokens: names, scopes, dates. Their secrets are not known any more."""
    client = _connect("token list", redis)
    try:
        tokens, unreadable = TokenStore(client, keys=Keys()).read()
    finally:
        client.close()
    for name in unreadable:
        print(f"streamer: token {name}: unreadable entry; revoke it", file=sys.stderr)
    rows = [_row(name, token) for name, token in tokens.items()]
    if json:
        print(json_module.dumps(rows))
        return
    table = Table(box=None, header_style="")
    for column in ("NAME", "SCOPES", "CREATED", "EXPIRES"):
        table.add_column(column)
    for row in rows:
        expires = row["expires"] or "never"
        ended = " (expired)" if row["expired"] else ""
        table.add_row(
            str(row["name"]), ", ".join(row["scopes"]), str(row["created"]), f"{expires}{ended}"
        )
    Console(highlight=False, soft_wrap=True).print(table)


@token_app.command("revoke")
def revoke(name: str = typer.Argument(help="As listed."), *, redis: str | None = _REDIS) -> None:
    """End a token. Gateways refuse it, and end what it holds open, within two seconds."""
    client = _connect("token revoke", redis)
    try:
        TokenStore(client, keys=Keys()).revoke(name)
    finally:
        client.close()
    print(f"{name} is revoked")


def _connect(command: str, redis: str | None) -> redis_package.Redis:
    url, access = redis_place(redis, command)
    return connect_to_read(url, access=access, of="--redis")


def _seconds(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None or int(match["number"]) == 0:
        raise ConfigError(f"--expires: expected a duration such as 30m, 12h or 90d, found {text!r}")
    return int(match["number"]) * _UNIT_SECONDS[match["unit"]]


def _row(name: str, token: TokenEntry) -> dict[str, Any]:
    expires_ns = token.expires_ns
    return {
        "name": name,
        "scopes": [str(scope) for scope in token.scopes],
        "created": _date(token.created_ns),
        "expires": None if expires_ns is None else _date(expires_ns),
        "expired": token.expired(time.time_ns()),
    }


def _date(utc_ns: int) -> str:
    return datetime.fromtimestamp(utc_ns // 10**9, UTC).isoformat().replace("+00:00", "Z")
