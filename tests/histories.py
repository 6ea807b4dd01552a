"""Made-up histories of a stream: the events a decoder would say, and the bands they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streamer.core.clock import ClockSource
from streamer.core.event import (
    ActionData,
    AnomalyData,
    EndReason,
    Event,
    EventData,
    EventType,
    FrameRef,
    GapData,
    GapPolicy,
    GapReason,
    PhaseData,
    PhaseEnd,
    Segment,
    Status,
    StatusData,
    Timing,
    event_id,
    rfc3339,
    sequence_text,
)
from streamer.core.feature import StreamStatus
from streamer.core.ledger import Ledger
from tests.eventlog import START_NS

if TYPE_CHECKING:
    from random import Random

PHASES = ("idle", "reach", "grasp", "move", "place")
ACTIONS = ("carrying", "lamp_on")
PERIOD_NS = 100_000_000


@dataclass
class Truth:
    """A segment that was meant."""

    label: str
    start_ns: int
    end_ns: int | None = None
    confidence: float = 0.0


@dataclass
class History:
    """Walks through time like a decoder with announcements, and writes down what it meant."""

    rng: Random
    stream: str = "cam"
    begin_ns: int = START_NS
    events: list[Event] = field(default_factory=list)
    phases: list[Truth] = field(default_factory=list)
    actions: list[Truth] = field(default_factory=list)
    anomalies: list[Truth] = field(default_factory=list)
    announced: list[tuple[str, int, int]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    seq: int = 0
    epoch: int = 1
    origin_seq: int = 0
    pace: int = 9  # frames between two events, at most

    @property
    def now_ns(self) -> int:
        return self.begin_ns + self.seq * PERIOD_NS

    def walk(self, steps: int) -> History:
        """So many things happen."""
        self.status(StreamStatus.LIVE)
        for _ in range(steps):
            self.step()
        return self

    def step(self) -> None:
        """Something happens a little later."""
        self.seq += self.rng.randint(1, self.pace)
        moves = (
            *[self.announce] * 3,
            *[self.confirm] * 4,
            self.take_back,
            *[self.act] * 3,
            self.alarm,
            self.gap,
        )
        self.rng.choice(moves)()
        if self.rng.random() < 0.03:
            self.reopen()

    def announce(self) -> None:
        open_phase = self.phases[-1] if self._in_phase() else None
        last = self.announced[-1] if self.announced else None
        before = last[0] if last else (open_phase.label if open_phase else None)
        label = self.rng.choice([p for p in PHASES if p != before])
        floor = max([s for _, s, _ in self.announced] + [p.start_ns for p in self.phases] + [0])
        start = max(self.now_ns - self.rng.randint(0, 3) * PERIOD_NS, floor + PERIOD_NS)
        start = min(start, self.now_ns)
        if start <= floor or (label, start) in [(a, b) for a, b, _ in self.announced]:
            return
        self.announced.append((label, start, 0))
        self._phase(label, start, 0, Status.PROVISIONAL, previous=None)

    def take_back(self) -> None:
        if self.announced:
            label, start, revision = self.announced.pop()
            self._phase(label, start, revision + 1, Status.RETRACTED, previous=None)

    def confirm(self) -> None:
        previous = self.phases[-1] if self._in_phase() else None
        floor = previous.start_ns + PERIOD_NS if previous else self._floor()
        if self.announced:
            label, start, _ = self.announced.pop(0)
            # The boundary may lie elsewhere than it was announced.
            ceiling = self.announced[0][1] - PERIOD_NS if self.announced else self.now_ns
            start = min(max(start + self.rng.randint(-2, 2) * PERIOD_NS, floor), ceiling)
            if previous and label == previous.label:
                self.announced.clear()
                return
        else:
            label = self.rng.choice([p for p in PHASES if not previous or p != previous.label])
            start = max(self.now_ns, floor)
        if start < floor:
            return
        self._enter(label, start, previous)

    def act(self) -> None:
        label = self.rng.choice(ACTIONS)
        running = next((a for a in self.actions if a.label == label and a.end_ns is None), None)
        type_ = EventType.ACTION_START
        if running is None:
            started = self.now_ns - self.rng.randint(0, 2) * PERIOD_NS
            ended = [a.end_ns or 0 for a in self.actions if a.label == label]
            running = Truth(label, max([started, *ended]))
            if any((a.label, a.start_ns) == (label, running.start_ns) for a in self.actions):
                return
            self.actions.append(running)
            status = Status.PROVISIONAL
        else:
            choice = self.rng.random()
            status = Status.CONFIRMED
            type_ = EventType.ACTION_UPDATE
            if choice < 0.5:
                type_ = EventType.ACTION_END
                running.end_ns = max(self.now_ns - PERIOD_NS, running.start_ns)
            elif choice < 0.7:
                type_, status = EventType.ACTION_END, Status.RETRACTED
                self.actions.remove(running)
        running.confidence = round(self.rng.random(), 3)
        end = self.now_ns if status is Status.RETRACTED else running.end_ns
        said = ActionData(
            **self._common(),
            label=label,
            segment=self._segment(running.start_ns, end, 0),
            confidence=running.confidence,
            status=status,
            decision_delay_seconds=0.1,
        )
        self._say(type_, said)

    def alarm(self) -> None:
        running = next((a for a in self.anomalies if a.end_ns is None), None)
        type_ = EventType.ANOMALY_START
        if running is None:
            running = Truth("", self.now_ns)
            self.anomalies.append(running)
        else:
            type_ = EventType.ANOMALY_END
            running.end_ns = self.now_ns
        said = AnomalyData(
            **self._common(),
            segment=self._segment(running.start_ns, running.end_ns, 0),
            score=3.5,
            confidence=0.8,
            status=Status.CONFIRMED,
            decision_delay_seconds=0.1,
        )
        self._say(type_, said)

    def gap(self) -> None:
        missing = self.rng.randint(1, 5)
        self.seq += missing
        self.gaps.append((self.now_ns - missing * PERIOD_NS, self.now_ns))
        self._say_gap(missing, GapPolicy.HOLD, GapReason.DROPPED)

    def reopen(self) -> None:
        """The source is opened anew: everything open ends first."""
        self.end()
        self.seq += 10
        self.epoch += 1
        self.origin_seq = self.seq
        self.gaps.append((self.now_ns - 10 * PERIOD_NS, self.now_ns))
        self._say_gap(10, GapPolicy.RESET, GapReason.NEW_EPOCH)
        self.status(StreamStatus.LIVE)

    def end(self) -> None:
        """Everything open ends."""
        while self.announced:
            self.take_back()
        if self._in_phase():
            self._enter(
                None, max(self.now_ns, self.phases[-1].start_ns + 1_000_000), self.phases[-1]
            )
        for running in [a for a in self.actions if a.end_ns is None]:
            running.end_ns = max(self.now_ns, running.start_ns)
            said = ActionData(
                **self._common(),
                label=running.label,
                segment=self._segment(running.start_ns, running.end_ns, 2),
                confidence=running.confidence,
                status=Status.CONFIRMED,
                decision_delay_seconds=0.1,
            )
            self._say(EventType.ACTION_END, said)
        if any(a.end_ns is None for a in self.anomalies):
            self.alarm()

    def status(self, state: StreamStatus) -> None:
        self._say(
            EventType.STREAM_STATUS,
            StatusData(**self._common(), state=state, reason="", detail=""),
        )

    def _in_phase(self) -> bool:
        return bool(self.phases) and self.phases[-1].end_ns is None

    def _floor(self) -> int:
        return max([p.end_ns or p.start_ns for p in self.phases] + [0])

    def _enter(self, label: str | None, start: int, previous: Truth | None) -> None:
        if previous is not None:
            previous.end_ns = start
        if label is not None:
            self.phases.append(Truth(label, start, None, round(self.rng.random(), 3)))
        self._phase(label, start, 1, Status.CONFIRMED, previous=previous)

    def _phase(
        self, label: str | None, start: int, revision: int, status: Status, *, previous: Any
    ) -> None:
        confirmed = status is Status.CONFIRMED and label is not None
        said = PhaseData(
            **self._common(),
            label=label,
            segment=self._segment(
                start, self.now_ns if status is Status.RETRACTED else None, revision
            ),
            previous=None
            if previous is None
            else PhaseEnd(label=previous.label, segment=self._segment(previous.start_ns, start, 2)),
            confidence=self.phases[-1].confidence if confirmed else 0.6,
            status=status,
            decision_delay_seconds=0.1,
        )
        self._say(EventType.PHASE_TRANSITION, said)

    def _say_gap(self, missing: int, policy: GapPolicy, reason: GapReason) -> None:
        said = GapData(
            **self._common(),
            missing_from_seq=self.seq - missing,
            missing_frames=missing,
            seconds=missing * PERIOD_NS * 1e-9,
            policy=policy,
            reason=reason,
        )
        self._say(EventType.STREAM_GAP, said)

    def _segment(self, start_ns: int, end_ns: int | None, revision: int) -> Segment:
        return Segment(
            start_ns=str(start_ns),
            end_ns=None if end_ns is None else str(end_ns),
            start_pts_seconds=(start_ns - self.begin_ns) * 1e-9,
            end_pts_seconds=None if end_ns is None else (end_ns - self.begin_ns) * 1e-9,
            start_seq=(start_ns - self.begin_ns) // PERIOD_NS,
            revision=revision,
            end_reason=None if end_ns is None else EndReason.EXIT,
        )

    def _common(self) -> dict[str, Any]:
        at = str(self.now_ns)
        pts_seconds = (self.seq - self.origin_seq) * PERIOD_NS * 1e-9
        return {
            "frame": FrameRef(epoch=self.epoch, seq=self.seq, pts_seconds=pts_seconds),
            "timing": Timing(captured_ns=at, received_ns=at, emitted_ns=at, clock=ClockSource.HOST),
            "latency": Ledger(decode_seconds=0.005),
            "pipeline_seconds": round(0.02 + 0.06 * self.rng.random() ** 3, 4),
            "model_id": "sha256:model",
            "encoder_id": "sha256:encoder",
        }

    def _say(self, type_: EventType, data: EventData) -> None:
        number = len(self.events)
        segment = getattr(data, "segment", None)
        self.events.append(
            Event(
                id=event_id(
                    stream_id=self.stream,
                    epoch=self.epoch,
                    model_id="sha256:model",
                    type=type_,
                    label=getattr(data, "label", None) or "",
                    start_seq=number,
                    revision=0 if segment is None else segment.revision,
                ),
                source=f"/streams/{self.stream}",
                type=type_,
                time=rfc3339(self.now_ns),
                sequence=sequence_text(number),
                data=data,
            )
        )
