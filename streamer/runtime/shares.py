"""Which shares of the work are this worker's: rendezvous over live members, leases arbitrate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Generic

from streamer.transport.lease import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from streamer.transport.lease import Leases, Roster

POLL_SECONDS = 0.3
"""How often a worker looks who is there: a share given back is taken up within this time."""


PATIENCE_SECONDS = 2.5
"""After an outage others count as there for so long: a little more than workers that try again wait
at most."""

MAX_PATIENCE_SECONDS = 10.0
"""The same, of one outage after the other."""


@dataclass(frozen=True, slots=True)
class Changes(Generic[Share]):
    """What a turn changed.

    Attributes:
        gained: Shares that are ours now.
        lost: Shares that no longer are. Whatever is known of them is worth nothing.
    """

    gained: frozenset[Share] = frozenset()
    lost: frozenset[Share] = frozenset()


@dataclass(frozen=True, slots=True)
class _Absence:
    """Of one who was there before an outage, and may not be back yet.

    Attributes:
        first: When the first outage was seen.
        latest: When the latest was.
        until: It counts as there for so long.
    """

    first: float
    latest: float
    until: float


class Shares(Generic[Share]):
    """Takes, renews and gives back leases. Called from the work loop: a hung worker loses its own.

    One that has lapsed is lost when another has taken it. If nobody has, as when Redis was away
    for everybody, it is renewed as if nothing had happened: its generation says so.

    Every member computes the same owner of each share from the same list of members (highest
    random weight: Thaler and Ravishankar 1998), so that one that comes or goes moves only its own
    shares. While the lists differ, and until the one before lets go, the lease decides.

    After an outage, Redis may know nobody any more, and somebody is the first to be back. Those who
    were there before it count as there for a while: what is theirs moves only if they stay away.

    Args:
        roster: Who is there.
        leases: Who may work on what.
        member: This worker; its leases are in this name too.
        ttl_seconds: A worker silent for so long has lost its leases.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        roster: Roster,
        leases: Leases[Share],
        *,
        member: str,
        ttl_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._roster = roster
        self._leases = leases
        self._member = member
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._until: dict[Share, float] = {}
        self._generations: dict[Share, int] = {}
        self._members = [member]
        self._away: dict[str, _Absence] = {}
        self._wanted: set[Share] = set()
        self._looked_at: float | None = None
        self._doubtful = False

    @property
    def held(self) -> frozenset[Share]:
        """What is ours."""
        return frozenset(self._until)

    @property
    def alone(self) -> bool:
        """Whether nobody else was there at the last look."""
        return self._members == [self._member]

    def turn(self, shares: Iterable[Share]) -> tuple[Changes[Share], frozenset[Share]]:
        """Renew what is ours, take what should be.

        Args:
            shares: All shares there are.

        Returns:
            What has changed, and which of those held should be another's: give them back with
            `release` once they are at a boundary.
        """
        now = self._clock()
        if not self._doubtful and not self._due(now) and not self._is_time_to_look(now):
            return Changes(), frozenset(self._until.keys() - self._wanted)
        self._look(now)
        self._wanted = {share for share in shares if self._winner(share) == self._member}
        missing = self._wanted - self._until.keys()
        asked = missing | (set(self._until) if self._doubtful else self._due(now))
        granted = (
            self._leases.acquire(
                asked,
                owner=self._member,
                ttl_seconds=self._ttl_seconds,
                known={share: self._generations[share] for share in self._until},
            )
            if asked
            else {}
        )
        lost = asked - granted.keys() - missing
        gained = missing & granted.keys()
        for share, generation in granted.items():
            if share not in missing and generation != self._generations[share]:
                # It lapsed, another had it, and now it is ours again: what is known is worthless.
                lost.add(share)
                gained.add(share)
            self._generations[share] = generation
            self._until[share] = now + self._ttl_seconds
        for share in lost - gained:
            del self._until[share]
        self._doubtful = False
        changes = Changes(frozenset(gained), frozenset(lost))
        return changes, frozenset(self._until.keys() - self._wanted)

    def release(self, shares: Collection[Share]) -> None:
        """Give shares back."""
        for share in shares:
            self._until.pop(share, None)
        if shares:
            self._leases.release(shares, owner=self._member)

    def doubt(self) -> None:
        """The connection was lost, or a lease turned out to be another's: ask for all anew."""
        self._doubtful = True

    def leave(self) -> None:
        """Give everything back, and be gone: others take over at their next look."""
        self._roster.leave(self._member)
        self.release(self.held)

    def _is_time_to_look(self, now: float) -> bool:
        pause = min(POLL_SECONDS, self._ttl_seconds / 5)
        return self._looked_at is None or now - self._looked_at >= pause

    def _look(self, now: float) -> None:
        """See who is there."""
        after_outage = self._doubtful or (
            self._looked_at is not None and now - self._looked_at > self._ttl_seconds
        )
        there = set(self._roster.join(self._member, ttl_seconds=self._ttl_seconds))
        if after_outage:
            for member in set(self._members) - {self._member}:
                first = self._away[member].first if member in self._away else now
                until = min(now + PATIENCE_SECONDS, first + MAX_PATIENCE_SECONDS)
                self._away[member] = _Absence(first, now, until)
        self._away = {
            member: absence
            for member, absence in self._away.items()
            if now < absence.until and not (member in there and self._is_over(absence, now))
        }
        self._members = sorted(there | self._away.keys())
        self._looked_at = now

    def _is_over(self, absence: _Absence, now: float) -> bool:
        # Until then, Redis may list one who was there before the outage, and has not come back.
        return now - absence.latest > self._ttl_seconds

    def _due(self, now: float) -> set[Share]:
        third = self._ttl_seconds / 3
        return {share for share, until in self._until.items() if until - now < 2 * third}

    def _winner(self, share: Share) -> str:
        return max(self._members, key=lambda member: _weight(member, share))


def _weight(member: str, share: Share) -> bytes:
    return blake2b(f"{member}/{share}".encode(), digest_size=8).digest()
