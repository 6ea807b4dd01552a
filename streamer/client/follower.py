"""Follows the log of all partitions, over lost connections and logs that were rolled back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.client.cursor import END, START, Cursor, EntryId
from streamer.client.gap import Gap, GapReason, Rewind, find_gap, seconds_before
from streamer.client.log import LoggedEvent
from streamer.client.track import Track, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamer.client.gap import LogRange
    from streamer.client.log import EventLog

PRIMED = 64
"""Entries of a partition read at the beginning, to be remembered: before them nothing was seen."""

PROBED = 64
"""Remembered entries looked for at once."""

Item = LoggedEvent | Gap | Rewind


class Follower:
    """Where a reader stands in every partition. Used by one thread at a time.

    Delivery: every entry after its place, in the order of its partition. Redis may lose the newest
    entries and then be given the same events again, under ids before or after those of the lost
    ones. So with every read it sees that the last entry it had is still there. If not, a `Rewind`
    is followed by everything after the newest entry that it remembers and the log still has;
    events may come again, which their `sequence` tells. Only if there is none, a `Gap` is stated.

    Args:
        log: What is read. May be replaced when connecting anew; `resume` then goes on.
    """

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self._tracks: dict[int, Track] = {}

    @property
    def places(self) -> dict[int, EntryId]:
        """By partition, the last entry read."""
        return {at: track.place for at, track in self._tracks.items()}

    @property
    def cursor(self) -> Cursor:
        """The places."""
        return Cursor.of(self.places, num_partitions=self.log.num_partitions)

    def begin(self, since: Cursor | float | None, *, is_entry: bool = False) -> list[Gap]:
        """Find the place to begin.

        Args:
            since: After this place, since so many seconds ago, or at the end.
            is_entry: Whether the ids of that place are for certain those of entries.

        Returns:
            What is missing after that place.
        """
        self.log.refresh()
        partitions = range(self.log.num_partitions)
        match since:
            case None:
                ends = dict.fromkeys(partitions, END)
            case Cursor():
                ends = {at: since[at] for at in partitions}
            case seconds:
                ends = dict.fromkeys(partitions, seconds_before(self.log.now(), seconds))
        missing: dict[int, tuple[GapReason, LogRange]] = {}
        for at, (rows, log) in self.log.look(ends, count=PRIMED).items():
            end = ends[at] if isinstance(since, Cursor) else min(ends[at], log.last)
            present = bool(rows) and rows[0].id == end
            reason = None
            if since is not None:
                reason = find_gap(end, log, present=present, is_entry=is_entry)
            if reason is not None:
                missing[at] = (reason, log)
            # The last entry before it, if there is one, is the same place; and can be found again.
            if not rows:
                end = min(end, log.last) if log.trimmed else START
            self._tracks[at] = self._track(end, rows, log)
        after = {at: ends[at] for at in missing}
        return self._gaps(missing, after)

    def resume(self) -> list[Gap | Rewind]:
        """After connecting anew: what has become of the places meanwhile."""
        self._adopt_partitions()
        return self._check(self._tracks, trimmed_counts=True)

    def read(self, *, wait_seconds: float) -> list[Item]:
        """What comes next, if anything comes within that time."""
        events = self.log.read(self.places, wait_seconds=wait_seconds)
        if not events:
            self._adopt_partitions()
        # After the read, so that it answers for what was read. What was trimmed since then is no
        # gap; what was trimmed before shows in the numbers of the events.
        concerned = {event.partition for event in events} or self._tracks
        changes = self._check(concerned, trimmed_counts=False)
        moved = {at for change in changes for at in change.after}
        events = [event for event in events if event.partition not in moved]
        for event in events:
            self._tracks[event.partition].take(event)
        return [*changes, *events]

    def _adopt_partitions(self) -> None:
        """P is unknown before the first worker has started: then all there is, is new."""
        self.log.refresh()
        if len(self._tracks) != self.log.num_partitions:
            partitions = range(self.log.num_partitions)
            self._tracks = {
                at: self._tracks.get(at) or Track(START, from_start=True) for at in partitions
            }

    def _check(self, partitions: Iterable[int], *, trimmed_counts: bool) -> list[Gap | Rewind]:
        places = {at: self._tracks[at].place for at in partitions}
        ends = {at: place for at, place in places.items() if place > START}
        missing: dict[int, tuple[GapReason, LogRange]] = {}
        rewound: dict[int, EntryId] = {}
        for at, (rows, log) in (self.log.look(ends, count=1) if ends else {}).items():
            track = self._tracks[at]
            match track.judge(rows[0] if rows else None, log):
                case Verdict.TRIMMED if trimmed_counts:
                    missing[at] = (GapReason.TRIMMED, log)
                case Verdict.LOST:
                    missing[at] = (GapReason.RESTARTED, log)
                    self._start_over(at, log)
                case Verdict.ROLLED_BACK:
                    survivor = self._survivor(at, log)
                    if survivor is None:
                        missing[at] = (GapReason.RESTARTED, log)
                        self._start_over(at, log)
                    else:
                        track.rewind(survivor)
                        rewound[at] = survivor
        changes: list[Gap | Rewind] = [*self._gaps(missing, places)]
        if rewound:
            changes.append(Rewind({at: places[at] for at in rewound}, rewound))
        return changes

    def _survivor(self, partition: int, log: LogRange) -> EntryId | None:
        """The newest entry that is remembered and still there; the start, if it is."""
        track = self._tracks[partition]
        for ids in track.back(step=PROBED):
            for event in self.log.find(partition, ids):
                if event is not None and track.knows(event):
                    return event.id
        return START if track.from_start and not log.trimmed else None

    def _start_over(self, partition: int, log: LogRange) -> None:
        """From where the reader began, or from the end of a log that ends before that."""
        place = min(self._tracks[partition].begun_at, log.last)
        rows, log = self.log.look({partition: place}, count=PRIMED)[partition]
        self._tracks[partition] = self._track(place, rows, log)

    def _track(self, place: EntryId, rows: Sequence[LoggedEvent], log: LogRange) -> Track:
        """From the entries up to a place, newest first."""
        from_start = len(rows) < PRIMED and not log.trimmed
        return Track(rows[0].id if rows else place, reversed(rows), from_start=from_start)

    def _gaps(
        self, missing: dict[int, tuple[GapReason, LogRange]], after: dict[int, EntryId]
    ) -> list[Gap]:
        """One per reason, whatever the number of partitions."""
        gaps = []
        for reason in GapReason:
            logs = {at: log for at, (why, log) in missing.items() if why is reason}
            if logs:
                gaps.append(
                    Gap(
                        reason,
                        after={at: after[at] for at in logs},
                        oldest={at: log.first for at, log in logs.items() if log.first},
                        resume={at: self._tracks[at].place for at in logs},
                    )
                )
        return gaps
