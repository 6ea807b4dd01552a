"""Leases and members in Redis: who is there, and who may work on what. By the server's clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from streamer.transport.connection import Call, call, call_many

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import redis

    from streamer.transport.keys import Keys

Share = TypeVar("Share", bound=Hashable)
"""A piece of the work: a partition, or a stream."""

NOTHING_KNOWN: Mapping[Any, int] = MappingProxyType({})


class Leases(Protocol[Share]):
    """Who may work on what. A lease ends by itself when it is not renewed."""

    def acquire(
        self,
        shares: Collection[Share],
        *,
        owner: str,
        ttl_seconds: float,
        known: Mapping[Share, int] = NOTHING_KNOWN,
    ) -> dict[Share, int]:
        """Take or renew leases.

        Args:
            shares: What is asked for.
            owner: Who asks.
            ttl_seconds: How long they last.
            known: Generations that the owner has. One that is newer than what is stored wins: the
                store has lost its newest writes.

        Returns:
            The generation of each; those of others are missing.
        """
        ...

    def release(self, shares: Collection[Share], *, owner: str) -> None:
        """Give back those that are the owner's."""
        ...


class Roster(Protocol):
    """Who of a role is alive. A member that does not say so again is gone."""

    def join(self, member: str, *, ttl_seconds: float) -> list[str]:
        """Say that one is alive. Returns everybody who is."""
        ...

    def leave(self, member: str) -> None:
        """Say that one is no more."""
        ...


class RedisLeases(Generic[Share]):
    """Leases in hashes.

    Args:
        client: A connection.
        key_of: A share's key.
        partition_of: A share's partition: what is in one is asked for in one call.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        key_of: Callable[[Share], str],
        partition_of: Callable[[Share], int],
    ) -> None:
        self._client = client
        self._key_of = key_of
        self._partition_of = partition_of

    def acquire(
        self,
        shares: Collection[Share],
        *,
        owner: str,
        ttl_seconds: float,
        known: Mapping[Share, int] = NOTHING_KNOWN,
    ) -> dict[Share, int]:
        """Take or renew leases."""
        groups = self._groups(shares)
        calls = [
            Call(
                "acquire",
                [self._key_of(share) for share in group],
                [owner, _ms(ttl_seconds), *(known.get(share, 0) for share in group)],
            )
            for group in groups
        ]
        return {
            share: int(generation)
            for group, answers in zip(groups, call_many(self._client, calls), strict=True)
            for share, generation in zip(group, answers, strict=True)
            if generation
        }

    def release(self, shares: Collection[Share], *, owner: str) -> None:
        """Give back those that are the owner's."""
        calls = [
            Call("release", [self._key_of(share) for share in group], [owner])
            for group in self._groups(shares)
        ]
        call_many(self._client, calls)

    def _groups(self, shares: Collection[Share]) -> list[list[Share]]:
        groups: defaultdict[int, list[Share]] = defaultdict(list)
        for share in shares:
            groups[self._partition_of(share)].append(share)
        return list(groups.values())


def partition_leases(client: redis.Redis, *, keys: Keys) -> RedisLeases[int]:
    """Leases of the partitions, for temporal workers."""
    return RedisLeases(client, key_of=keys.lease, partition_of=lambda partition: partition)


def watch_leases(client: redis.Redis, *, keys: Keys) -> RedisLeases[str]:
    """Leases of the streams, for ingest workers."""
    return RedisLeases(client, key_of=keys.watch, partition_of=keys.partition)


class RedisRoster:
    """The members of a role in a sorted set."""

    def __init__(self, client: redis.Redis, *, keys: Keys, role: str) -> None:
        self._client = client
        self._key = keys.members(role)

    def join(self, member: str, *, ttl_seconds: float) -> list[str]:
        """Say that one is alive."""
        members = call(self._client, "join", [self._key], member, _ms(ttl_seconds))
        return [name.decode() for name in members]

    def leave(self, member: str) -> None:
        """Say that one is no more."""
        call(self._client, "leave", [self._key], member)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
