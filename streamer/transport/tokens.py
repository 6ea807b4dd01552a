"""Access tokens: who may do what through a gateway. Kept in Redis, so that all gateways agree.

A token is 256 random bits. What is kept is its SHA-256: there are no dictionaries of such secrets
and no way to try them all, so the slow, salted hashes that passwords need would only make every
request dear.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.core.errors import ConfigError
from streamer.transport.connection import redis_errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis

    from streamer.transport.keys import Keys

PREFIX = "streamer_"
"""By which people and scanners of repositories recognise a token."""

RUN_TOKEN_VARIABLE = "STREAMER_GATEWAY_TOKEN"
"""By which a run hands its own token to its gateway. Others can read a command line, not this."""

CLIENT_TOKEN_VARIABLE = "STREAMER_TOKEN"
"""Where clients look for a token."""

MIN_CHARACTERS = 32
"""Of a token that somebody made himself: 128 bits, written as hexadecimal digits."""

_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{MIN_CHARACTERS},256}}")

TOKEN_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Scope(StrEnum):
    """What a token lets its bearer do."""

    EVENTS_READ = "events:read"
    """Follow events; look at streams, pictures and models."""
    STREAMS_WRITE = "streams:write"
    """Also add, change and remove streams, and correct labels."""
    ADMIN = "admin"
    """Everything."""


_INCLUDED = {
    Scope.EVENTS_READ: frozenset({Scope.EVENTS_READ}),
    Scope.STREAMS_WRITE: frozenset({Scope.EVENTS_READ, Scope.STREAMS_WRITE}),
    Scope.ADMIN: frozenset(Scope),
}


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A token, as it is kept.

    Attributes:
        digest: SHA-256 of the token, in hexadecimal.
        scopes: As granted.
        created_ns: UTC nanoseconds since 1970.
        expires_ns: From then on it is worth nothing; None: never.
    """

    digest: str
    scopes: tuple[Scope, ...]
    created_ns: int
    expires_ns: int | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether its scopes include that one."""
        return any(scope in _INCLUDED[granted] for granted in self.scopes)

    def expired(self, now_ns: int) -> bool:
        """Whether its time is over."""
        return self.expires_ns is not None and now_ns >= self.expires_ns


def make_token() -> str:
    """A new secret of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def read_token_file(path: str, *, of: str) -> str:
    """The token in a file, as deployments hand out secrets.

    Args:
        path: Of the file. Blanks around the token don't count.
        of: What names the file, for messages.

    Raises:
        ConfigError: It can't be read, or what is in it could be guessed or sent in no header.
    """
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{of}: {path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{of}: {path}: expected text, found something else") from None
    if not _TOKEN.fullmatch(token):
        raise ConfigError(
            f"{of}: {path}: expected a token of at least {MIN_CHARACTERS} letters, digits, `-` and "
            f"`_`, found {len(token)} characters; make one with `openssl rand -hex 32`"
        )
    return token


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


class TokenStore:
    """Reads and writes the hash of tokens, by their names."""

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._client = client
        self._key = keys.tokens

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        *,
        now_ns: int,
        expires_ns: int | None = None,
    ) -> str:
        """Make a token. It is returned here and nowhere else.

        Args:
            name: For people; each is used once.
            scopes: What it allows; one at least.
            now_ns: UTC nanoseconds since 1970.
            expires_ns: Its end; None: it has none.

        Raises:
            ConfigError: The name is taken or can't be, or there is no scope.
            TransportError: Redis does not answer.
        """
        if not TOKEN_NAME.fullmatch(name):
            raise ConfigError("token: expected a name of 1 to 64 of A-Z a-z 0-9 . _ -")
        granted = tuple(scope for scope in Scope if scope in set(scopes))
        if not granted:
            raise ConfigError(f"token {name}: expected a scope: {', '.join(Scope)}; found none")
        token = make_token()
        entry = TokenEntry(
            digest=digest_of(token), scopes=granted, created_ns=now_ns, expires_ns=expires_ns
        )
        with redis_errors("create token"):
            new = self._client.hsetnx(self._key, name, msgspec.json.encode(entry).decode())
        if not new:
            raise ConfigError(
                f"token {name}: there is one of this name; take another name, or revoke it first"
            )
        return token

    def read(self) -> tuple[dict[str, TokenEntry], list[str]]:
        """All tokens by name, expired ones too; and the names of entries that are none of ours.

        Raises:
            TransportError: Redis does not answer.
        """
        with redis_errors("read tokens"):
            raw: Any = self._client.hgetall(self._key)
        entries, unreadable = {}, []
        for key, value in sorted(raw.items()):
            name = key.decode(errors="replace")
            try:
                entries[name] = msgspec.json.decode(value, type=TokenEntry)
            except msgspec.MsgspecError:
                unreadable.append(name)
        return entries, unreadable

    def revoke(self, name: str) -> None:
        """End a token. Gateways notice within a second or two.

        Raises:
            ConfigError: There is none of this name.
            TransportError: Redis does not answer.
        """
        with redis_errors("revoke token"):
            removed = self._client.hdel(self._key, name)
        if not removed:
            raise ConfigError(f"token {name}: there is none; `streamer token list` shows them")
