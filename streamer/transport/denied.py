"""Says exactly which permission a user lacks: the command, the key, the ACL rule that grants it."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import redis
from redis.exceptions import NoPermissionError

from streamer.transport.functions import PREFIX
from streamer.transport.permissions import (
    CLUSTER,
    DIRECT,
    FUNCTIONS,
    Access,
    Grants,
    Permission,
    rules_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamer.transport.permissions import Role

Ask: TypeAlias = Callable[..., Any]
"""Sends a command. What it raises is redis-py's."""

# What Redis 7.0 and Valkey say of a command inside a function; they give it no code.
_INSIDE = ("ACL failure in script", "The user executing the script can't")

_NAMED = 5
"""Permissions named one by one; the rules that follow are all there."""

_KNOWN = CLUSTER.union(
    *DIRECT.values(), *(f.needs for of_role in FUNCTIONS.values() for f in of_role.values())
)

_SUBCOMMANDS = {permission.command for permission in _KNOWN if "|" in permission.command}


def is_denial(error: object) -> bool:
    """Whether a server's answer says that its user may not do this."""
    if isinstance(error, NoPermissionError):
        return True
    return isinstance(error, redis.ResponseError) and str(error).startswith(_INSIDE)


def explained(
    error: BaseException, args: Sequence[Any], *, user: str, ask: Ask | None = None
) -> NoPermissionError:
    """A denial in words.

    Args:
        error: As it was raised.
        args: The command that was sent.
        user: Who sent it.
        ask: As that user; for functions it is asked which of their steps are denied.
    """
    if isinstance(error, MissingPermissionError):
        return error
    command, rest = _text(args[0]).lower().replace(" ", "|"), args[1:]
    if rest and f"{command}|{_text(rest[0]).lower()}" in _SUBCOMMANDS:
        command, rest = f"{command}|{_text(rest[0]).lower()}", rest[1:]
    if ask is not None and command == "fcall" and _text(rest[0]).startswith(PREFIX):
        name = _text(rest[0]).removeprefix(PREFIX)
        keys = [_text(key) for key in rest[2 : 2 + int(rest[1])]]
        missing = _missing(_needs(name, keys), ask=ask)
        what = f"function {name}"
    else:
        missing = sorted({_permission(command, key) for key in _keys(command, rest)})
        what = ""
    if not missing:
        return NoPermissionError(f"user {user}: {error}")
    return MissingPermissionError(user, missing, what=what)


def missing_permissions(role: Role, *, ask: Ask, cluster: bool = False) -> list[Permission]:
    """What a user lacks of what its role needs. Nothing is changed by looking.

    Args:
        role: What it is to do.
        ask: As that user.
        cluster: Whether the server is a cluster.
    """
    return _missing(Grants.of(role, cluster=cluster).permissions, ask=ask)


class MissingPermissionError(NoPermissionError):
    """A user lacks permissions that are known by name."""

    def __init__(self, user: str, missing: Iterable[Permission], *, what: str = "") -> None:
        missing = sorted(missing)
        named = [_name(permission) for permission in missing[:_NAMED]]
        more = [f"{len(missing) - _NAMED} more"] if len(missing) > _NAMED else []
        names = ", ".join([*named, *more])
        by = f" (in {what})" if what else ""
        super().__init__(
            f"user {user} may not run {names}{by}; its ACL rules must have "
            f"{' '.join(rules_of(missing))}: `streamer redis acl` writes them all"
        )


def _missing(needed: Iterable[Permission], *, ask: Ask) -> list[Permission]:
    wanted = sorted(needed)
    words: list[str] = []
    for permission in wanted:
        one = _words(permission)
        words += [str(len(one)), *one]
    try:
        granted = ask("FCALL", f"{PREFIX}may", "0", *words)
    except redis.ResponseError as error:
        if not is_denial(error):
            raise
        return [permission for permission in wanted if permission.command == "fcall"]
    return [p for p, may in zip(wanted, granted, strict=True) if not may]


def _words(permission: Permission) -> list[str]:
    """A command that is permitted if, and only if, the permission is granted."""
    command = permission.command.upper().split("|")
    if permission.access is None:
        return command
    key = permission.pattern.partition("~")[2].replace("*", "0")
    match permission.command:
        case "fcall":
            return [*command, "f", "1", key]
        case "xread":
            return [*command, "STREAMS", key, "0"]
        case "set":
            return [*command, key, ""]
        case _:
            return [*command, key]


def _needs(name: str, keys: Sequence[str]) -> frozenset[Permission]:
    """Of a function that is called with these keys: several roles may call one, with others."""
    found: frozenset[Permission] = frozenset()
    for of_role in FUNCTIONS.values():
        function = of_role.get(name)
        if function is not None and any(
            fnmatch.fnmatchcase(keys[0], _pattern(key)) for key in function.keys
        ):
            found |= function.needs
    return found


def _keys(command: str, rest: Sequence[Any]) -> list[str]:
    words = [_text(word) for word in rest]
    if command == "xread":
        at = [word.upper() for word in words].index("STREAMS") + 1
        return words[at : at + (len(words) - at) // 2]
    return words[:1] or [""]


def _permission(command: str, key: str) -> Permission:
    """The one that a command on a key needs; as in the table, if it stands there."""
    for known in _KNOWN:
        if known.command == command and known.access is None:
            return known
        if known.command == command and fnmatch.fnmatchcase(key, _pattern(known.key)):
            return known
    return Permission(command)


def _pattern(kind: str) -> str:
    return Permission("", Access.BOTH, kind).pattern.removeprefix("~")


def _name(permission: Permission) -> str:
    command = permission.command.upper().replace("|", " ")
    return f"{command} on {_pattern(permission.key)}" if permission.pattern else command


def _text(word: object) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)
