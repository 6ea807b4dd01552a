"""Places in the event log, as text: where a subscriber stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENTRY_ID = re.compile(r"(?P<ms>[0-9]{1,20})(-(?P<serial>[0-9]{1,20}))?")
_DURATION = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,9})?)(?P<unit>ms|s|m|h|d)")
_PARTITION = re.compile(r"0|[1-9][0-9]{0,3}")
_UNIT_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MAX_PART = 2**64 - 1


class EntryId(NamedTuple):
    """The id of an entry of the event log; they sort by time.

    Attributes:
        ms: Milliseconds since 1970, by the Redis server's clock.
        serial: Tells entries of one millisecond apart.
    """

    ms: int
    serial: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.serial}"

    @property
    def before(self) -> EntryId:
        """The last id that sorts before this one; of the first one itself."""
        if self.serial:
            return EntryId(self.ms, self.serial - 1)
        return EntryId(self.ms - 1, _MAX_PART) if self.ms else self

    @classmethod
    def parse(cls, text: str) -> Self:
        """The id that `text` is: `1767225600000-0`, or without the serial.

        Raises:
            ConfigError: It is none.
        """
        match = _ENTRY_ID.fullmatch(text)
        parts = (int(match["ms"]), int(match["serial"] or 0)) if match else (_MAX_PART + 1, 0)
        if max(parts) > _MAX_PART:
            raise ConfigError(f"expected an entry id such as 1767225600000-0, found {text!r}")
        return cls(*parts)


START = EntryId(0, 0)
"""Before the first entry."""

END = EntryId(_MAX_PART, _MAX_PART)
"""After the last entry there can be."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the log of every partition.

    As text it is `1767225600000-0`: one place for all, as in an install of one partition; or
    `0:1767225600000-0,5:1767225600000-3`: of these partitions, and the start of all others.

    Attributes:
        places: By partition, the last entry seen.
        rest: The place in all others.
    """

    places: Mapping[int, EntryId] = field(default_factory=dict)
    rest: EntryId = START

    def __getitem__(self, partition: int) -> EntryId:
        return self.places.get(partition, self.rest)

    def __str__(self) -> str:
        if not self.places:
            return str(self.rest)
        return ",".join(f"{at}:{place.ms}-{place.serial}" for at, place in self.places.items())

    @classmethod
    def of(cls, places: Mapping[int, EntryId], *, num_partitions: int) -> Self:
        """From the places in some partitions; the others are at their start."""
        if num_partitions == 1:
            return cls(rest=places.get(0, START))
        return cls({at: place for at, place in sorted(places.items()) if place > START})

    @classmethod
    def parse(cls, text: str, *, of: str = "cursor") -> Self:
        """The cursor that `text` is.

        Args:
            text: A cursor.
            of: What the message of an error calls it.

        Raises:
            ConfigError: It is none.
        """
        try:
            return cls._parse(text)
        except ConfigError as error:
            raise ConfigError(f"{of}: {error}") from None

    @classmethod
    def _parse(cls, text: str) -> Self:
        if ":" not in text:
            return cls(rest=EntryId.parse(text))
        places: dict[int, EntryId] = {}
        for item in text.split(","):
            partition, _, entry_id = item.partition(":")
            if not _PARTITION.fullmatch(partition) or int(partition) in places:
                raise ConfigError(
                    f"expected PARTITION:ENTRY,… such as 0:1767225600000-0,5:1767225600000-3, "
                    f"found {text!r}"
                )
            places[int(partition)] = EntryId.parse(entry_id)
        return cls(places)


def parse_since(text: str, *, of: str = "since") -> Cursor | float:
    """Where to begin: after an entry, or so many seconds ago.

    Args:
        text: A cursor (`0` is the oldest entry kept), or a duration such as `90s` or `10m`
            (`ms`, `s`, `m`, `h`, `d`).
        of: What the message of an error calls it.

    Raises:
        ConfigError: It is neither.
    """
    match = _DURATION.fullmatch(text)
    if match:
        return float(match["number"]) * _UNIT_SECONDS[match["unit"]]
    try:
        return Cursor.parse(text)
    except ConfigError:
        raise ConfigError(
            f"{of}: expected a duration such as 10m or an entry id such as 1767225600000-0, "
            f"found {text!r}"
        ) from None
