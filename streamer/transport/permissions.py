"""Which commands on which keys each role needs: the one table behind ACL files and messages.

A server checks the commands inside a function as if its caller had sent them, and for FCALL itself
wants the right to read and to write every key that is handed over. So who calls a function needs
both: FCALL on its keys, and what the function does to each.
Reference: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from streamer.transport.keys import key_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Role(StrEnum):
    """Who uses the server, and the name of its user unless another is chosen."""

    INGEST = "ingest"
    ENCODER = "encoder"
    TEMPORAL = "temporal"
    GATEWAY = "gateway"
    SUBSCRIBER = "subscriber"
    """Reads events, and nothing else."""
    ADMIN = "admin"
    """The commands of `streamer` that look at a pipeline or change it."""
    MONITOR = "monitor"
    """Prometheus' exporter, and health checks."""


class Access(StrEnum):
    """What a command does to a key, as the server sees it."""

    READ = "R"
    WRITE = "W"
    BOTH = "RW"


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """A command, and on which keys.

    Attributes:
        command: As an ACL rule names it, `xinfo|stream`.
        access: What it does to the key; None for a command without keys.
        key: Name of a method or property of `Keys`; empty for a command without keys.
    """

    command: str
    access: Access | None = None
    key: str = ""

    @property
    def pattern(self) -> str:
        """The keys, as an ACL rule names them: `%R~streamer:{*}:events`; empty without keys."""
        if self.access is None:
            return ""
        prefix = "~" if self.access is Access.BOTH else f"%{self.access}~"
        return prefix + key_pattern(self.key)

    @property
    def rule(self) -> str:
        """The ACL rule that grants just this."""
        return f"(+{self.command} {self.pattern})" if self.pattern else f"+{self.command}"


_WRITING = frozenset({
    "del", "hdel", "hset", "hsetnx", "pexpire", "set", "xadd", "xdel", "xtrim", "zadd", "zrem",
    "zremrangebyscore",
})  # fmt: skip


def _uses(text: str) -> frozenset[Permission]:
    """`hget source, time` as permissions: each a command and the key it is used on, if any."""
    found = set()
    for use in text.split(","):
        command, *key = use.split()
        access = Access.WRITE if command in _WRITING else Access.READ
        found.add(Permission(command, access, key[0]) if key else Permission(command))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Function:
    """One of ours.

    Attributes:
        keys: Which it is handed.
        does: What it does with them.
    """

    keys: tuple[str, ...]
    does: frozenset[Permission]

    @classmethod
    def of(cls, keys: str, does: str) -> Function:
        """From two lines."""
        return cls(tuple(keys.split()), _uses(does))

    @property
    def needs(self) -> frozenset[Permission]:
        """What its caller must be allowed to do."""
        return self.does | {Permission("fcall", Access.BOTH, key) for key in self.keys}


def _lease(key: str) -> Mapping[str, Function]:
    return {
        "acquire": Function.of(key, f"time, hmget {key}, hset {key}"),
        "release": Function.of(key, f"hget {key}, hdel {key}"),
    }


def _members(key: str) -> Mapping[str, Function]:
    return {
        "join": Function.of(
            key, f"time, zremrangebyscore {key}, zrangebyscore {key}, zadd {key}, zrange {key}"
        ),
        "leave": Function.of(key, f"zrem {key}"),
    }


_SWAP = {
    "swap": Function.of("streams", "hget streams, hgetall streams, hdel streams, hset streams")
}
"""Of the desired sources."""

FUNCTIONS: Mapping[Role, Mapping[str, Function]] = {
    Role.INGEST: {
        "open_source": Function.of(
            "source frames watch",
            "hget watch, hmget source, xrange frames, del frames, hset source",
        ),
        "reclaim": Function.of("source watch", "hget watch, hget source, hset source"),
        "send": Function.of(
            "source frames",
            "hmget source, type frames, xadd frames, xdel frames, hset source, xlen frames",
        ),
        "keep_picture": Function.of(
            "snapshots",
            "time, type snapshots, xadd snapshots, pexpire snapshots, xrange snapshots, "
            "xdel snapshots",
        ),
        **_lease("watch"),
        **_members("members_ingest"),
        **_SWAP,
    },
    Role.ENCODER: {
        "publish": Function.of(
            "source features frames state",
            "hmget source, xlen features, hget state, xtrim features, xadd features, "
            "hset source, xtrim frames",
        ),
        "relieve": Function.of(
            "features anchors state", "hget state, xtrim features, xtrim anchors"
        ),
    },
    Role.TEMPORAL: {
        "attempt": Function.of("state", "type state, hset state"),
        "commit": Function.of(
            "lease events dead state features anchors",
            "hget lease, type events, type dead, hget state, type anchors, xadd dead, "
            "xadd events, del anchors, xadd anchors, xtrim anchors, hset state, "
            "xtrim features, xtrim events, time",
        ),
        **_lease("lease"),
        **_members("members_temporal"),
    },
    Role.GATEWAY: _SWAP,
    Role.ADMIN: _SWAP,
}
"""Which functions a role calls, and what they do."""

_CHECKS = "function|list, hmget install"
"""Of who calls functions: that they are ours, that all of this is granted, and P."""

_FOLLOWS = "hmget install, time, xread events, xrange events, xrevrange events, xinfo|stream events"
"""Of who reads events."""

DIRECT: Mapping[Role, frozenset[Permission]] = {
    Role.INGEST: _uses(
        f"{_CHECKS}, {_FOLLOWS}, hget source, hget state, hget streams, hgetall streams, "
        "hgetall finished, hset finished, get watched, set preview, "
        "del snapshots, del preview, del watched"
    ),
    Role.ENCODER: _uses(
        f"{_CHECKS}, hgetall streams, xread frames, xtrim frames, type frames, xlen frames, "
        "xrange frames"
    ),
    Role.TEMPORAL: _uses(
        f"{_CHECKS}, hgetall streams, get wanted_model, hget models, hset models, "
        "xread features, type features, hmget state, hget state, "
        "hget source, xrange features, xrevrange features"
    ),
    Role.GATEWAY: _uses(
        f"{_CHECKS}, {_FOLLOWS}, hgetall tokens, hgetall streams, hget streams, hgetall finished, "
        "hdel finished, exists run, get wanted_model, hget models, hgetall models, hmget state, "
        "xrange snapshots, get preview, set watched"
    ),
    Role.SUBSCRIBER: _uses(_FOLLOWS),
    Role.ADMIN: _uses(
        f"{_CHECKS}, {_FOLLOWS}, function|load, hsetnx install, hgetall tokens, hsetnx tokens, "
        "hdel tokens, hgetall streams, hget streams, hgetall finished, hdel finished, exists run, "
        "get wanted_model, set wanted_model, hgetall models, hget models, hkeys models, scan, "
        "hget state, hmget state, xrange features, xrange anchors, xrange dead, info, acl|load"
    ),
    Role.MONITOR: _uses("ping, info, slowlog|get, slowlog|len, latency|latest, latency|histogram"),
}
"""What a role asks for besides its functions."""

CLUSTER = _uses("cluster|slots, command, asking")
"""What every role needs besides, on a cluster."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What a role is allowed to do.

    Attributes:
        role: Whose.
        permissions: All of them.
    """

    role: Role
    permissions: frozenset[Permission] = field(repr=False)

    @classmethod
    def of(cls, role: Role, *, cluster: bool = False) -> Grants:
        """What the table says.

        Args:
            role: Whose.
            cluster: Whether the server is a cluster.
        """
        needed = DIRECT[role].union(*(f.needs for f in FUNCTIONS.get(role, {}).values()))
        return cls(role, needed | (CLUSTER if cluster else frozenset()))

    def without(self, *permissions: Permission) -> Grants:
        """All but these."""
        return Grants(self.role, self.permissions.difference(permissions))

    @property
    def rules(self) -> tuple[str, ...]:
        """ACL rules that grant this and nothing else: commands without keys, then selectors."""
        return rules_of(self.permissions)


def rules_of(permissions: Iterable[Permission]) -> tuple[str, ...]:
    """ACL rules: one selector for all commands that are used on the same keys in the same way."""
    keys_of: defaultdict[str, set[str]] = defaultdict(set)
    bare = set()
    for permission in permissions:
        if permission.pattern:
            keys_of[permission.command].add(permission.pattern)
        else:
            bare.add(permission.command)
    commands_of: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for command, patterns in sorted(keys_of.items()):
        commands_of[tuple(sorted(patterns))].append(command)
    selectors = [
        f"({' '.join([*(f'+{command}' for command in commands), *patterns])})"
        for patterns, commands in sorted(commands_of.items())
    ]
    return (*(f"+{command}" for command in sorted(bare)), *selectors)


def permissions_table() -> str:
    """All of it, in Markdown."""
    lines = ["| user | commands | keys |", "|---|---|---|"]
    for role in Role:
        for rule in Grants.of(role).rules:
            words = rule.strip("()").split()
            commands = ", ".join(f"`{word[1:]}`" for word in words if word.startswith("+"))
            keys = ", ".join(f"`{word}`" for word in words if not word.startswith("+"))
            lines.append(f"| `{role}` | {commands} | {keys or 'none'} |")
    on_cluster = ", ".join(f"`{permission.command}`" for permission in sorted(CLUSTER))
    lines.append(f"| all, on a cluster | {on_cluster} | none |")
    return "\n".join(lines) + "\n"
