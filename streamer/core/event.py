"""Events: CloudEvents 1.0 objects, typed. The JSON a subscriber sees is these structs, encoded.

Reference: CloudEvents 1.0.2, and its documented extension `sequence`.
Nanoseconds since 1970 are strings, because JSON numbers lose their last digits.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal
from urllib.parse import quote

import msgspec

from streamer.core.clock import ClockSource
from streamer.core.feature import StreamStatus
from streamer.core.ledger import Ledger

NAMESPACE = uuid.UUID("6f1c2f5e-6a0b-5c53-9f4e-2d1b8f0c7a11")
"""Namespace of event ids (uuid5)."""


class EventType(StrEnum):
    """CloudEvents `type`."""

    ACTION_START = "streamer.action.start"
    """An action is seen: provisional, or confirmed at once."""
    ACTION_UPDATE = "streamer.action.update"
    """An action that was provisional is confirmed."""
    ACTION_END = "streamer.action.end"
    """An action is over, or what was provisional is retracted."""
    PHASE_TRANSITION = "streamer.phase.transition"
    """The stream enters a phase: provisional, then confirmed or retracted."""
    ANOMALY_START = "streamer.anomaly.start"
    """Something unusual begins, or is confirmed."""
    ANOMALY_END = "streamer.anomaly.end"
    """It is over, or what was provisional is retracted."""
    STREAM_STATUS = "streamer.stream.status"
    """A camera's state changed."""
    STREAM_GAP = "streamer.stream.gap"
    """Video is missing, or was not used."""
    MODEL_CHANGED = "streamer.model.changed"
    """Another model watches the stream from here on."""


class Status(StrEnum):
    """How sure the decoder is of a segment."""

    PROVISIONAL = "provisional"
    """Said at once; may be retracted."""
    CONFIRMED = "confirmed"
    """Said for good."""
    RETRACTED = "retracted"
    """The provisional event with the same start was wrong."""


class EndReason(StrEnum):
    """Why a segment ended."""

    EXIT = "exit"
    """The model no longer sees it."""
    RETRACTED = "retracted"
    """It never lasted its minimum duration."""
    NEXT_PHASE = "next_phase"
    """Another phase began."""
    STREAM_ENDED = "stream_ended"
    """The file or the camera's stream is over, or the stream was removed."""
    PAUSED = "paused"
    """Somebody paused the stream."""
    NEW_EPOCH = "new_epoch"
    """The source was opened anew, so the memory of the picture before is gone."""
    GAP = "gap"
    """Too much video is missing to know."""
    MODEL_CHANGED = "model_changed"
    """The model that saw it watches no more."""


class GapPolicy(StrEnum):
    """What a gap does to a stream's recurrent state. Named in the bundle."""

    HOLD = "hold"
    """Go on with the state as it was."""
    DECAY = "decay"
    """Go on with the state, faded by the time that passed; what is open stays open."""
    RESET = "reset"
    """Begin from the initial state; open segments end."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of one label.

    Attributes:
        start_ns: UTC nanoseconds of the first frame, as a string.
        end_ns: The same of the last frame; None while it lasts.
        start_pts_seconds: Presentation time of the first frame in its epoch.
        end_pts_seconds: The same of the last frame.
        start_seq: seq of the first frame.
        revision: 0 for the first event about this segment, then 1, 2, …
        end_reason: None while it lasts.
    """

    start_ns: str
    end_ns: str | None
    start_pts_seconds: float
    end_pts_seconds: float | None
    start_seq: int
    revision: int
    end_reason: EndReason | None = None


class FrameRef(msgspec.Struct, frozen=True, kw_only=True):
    """The frame that decided.

    Attributes:
        epoch: Which opening of the source, from 1.
        seq: Number of the analysed frame in it, from 0.
        pts_seconds: Its presentation time in that epoch.
    """

    epoch: int
    seq: int
    pts_seconds: float


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """When the deciding frame was captured and received, and when the event was emitted (UTC).

    Attributes:
        captured_ns: By `clock`.
        received_ns: By the ingest host.
        emitted_ns: By the temporal worker's host, just before the commit.
        clock: What `captured_ns` is taken from.
    """

    captured_ns: str
    received_ns: str
    emitted_ns: str
    clock: ClockSource


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """What every event's data has.

    Attributes:
        frame: The frame that decided, or before which it happened.
        timing: Wall-clock times.
        latency: Seconds per stage.
        pipeline_seconds: Their sum: what the machinery took.
        model_id: Digest of the temporal model's bundle.
        encoder_id: Digest of the encoder and its preprocessing.
    """

    frame: FrameRef
    timing: Timing
    latency: Ledger
    pipeline_seconds: float
    model_id: str
    encoder_id: str


class ActionData(Data, frozen=True, kw_only=True):
    """An action starts, is confirmed, or ends.

    Attributes:
        label: The action.
        segment: Since when, until when.
        confidence: Calibrated probability at the deciding frame, 0–1.
        status: See `Status`.
        decision_delay_seconds: Video time from the segment's boundary to the deciding frame, or to
            the last frame that the model looked ahead at: its own hesitation.
        links: `snapshot`: the path at the gateway of the picture of the frame that decided, as
            long as it is kept.
    """

    label: str
    segment: Segment
    confidence: float
    status: Status
    decision_delay_seconds: float
    links: dict[str, str] = {}


class PhaseEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The phase that a transition leaves.

    Attributes:
        label: The phase.
        segment: From when until when.
    """

    label: str
    segment: Segment


class PhaseData(Data, frozen=True, kw_only=True):
    """The stream enters a phase.

    Attributes:
        label: The phase entered; None when the stream leaves its last one, for example at its end.
        segment: Since when.
        previous: The phase left, with its end; None at the first.
        confidence: Calibrated probability at the deciding frame, 0–1.
        status: See `Status`.
        decision_delay_seconds: As in `ActionData`.
        links: As in `ActionData`.
    """

    label: str | None
    segment: Segment
    previous: PhaseEnd | None
    confidence: float
    status: Status
    decision_delay_seconds: float
    links: dict[str, str] = {}


class AnomalyData(Data, frozen=True, kw_only=True):
    """Something unusual starts, is confirmed by another start of a higher revision, or ends.

    Attributes:
        segment: Since when, until when.
        score: How unusual: nats per dimension of what the model did not expect, smoothed; the
            highest so far.
        confidence: Of that score, 0–1; 0.5 at the threshold. See `AnomalyConfig.confidence`.
        status: See `Status`.
        decision_delay_seconds: As in `ActionData`.
        links: As in `ActionData`.
    """

    segment: Segment
    score: float
    confidence: float
    status: Status
    decision_delay_seconds: float
    links: dict[str, str] = {}


class StatusData(Data, frozen=True, kw_only=True):
    """A camera's state changed.

    Attributes:
        state: The new one.
        reason: A short word for machines; empty when there is nothing to say.
        detail: One line for people, without credentials.
    """

    state: StreamStatus
    reason: str
    detail: str


class GapReason(StrEnum):
    """Why something is missing."""

    DROPPED = "dropped"
    """Frames never became features."""
    NEW_EPOCH = "new_epoch"
    """The source was opened anew."""
    PAUSED = "paused"
    """No frame is missing, but the source showed nothing for longer than the state lasts."""
    UNREADABLE = "unreadable"
    """An input entry was damaged, or of another version. It is among the dead letters."""
    MISFIT = "misfit"
    """An input entry was of another encoder, or out of order. It is among the dead letters."""
    POISON = "poison"
    """Workers died of an input entry. It is among the dead letters."""
    STATE = "state"
    """The stored state could not be read. What was open has no end."""
    MODEL_CHANGED = "model_changed"
    """Frames waited for a look ahead when another model took over: neither decided them."""


class GapData(Data, frozen=True, kw_only=True):
    """Video is missing before `frame`, or was not used.

    Attributes:
        missing_from_seq: seq of the first missing frame.
        missing_frames: How many analysed frames are missing; 0 where an entry could not be read:
            those are stated with the next frame.
        seconds: Video time between the last frame seen and this one.
        policy: What was done to the state.
        reason: See `GapReason`.
    """

    missing_from_seq: int
    missing_frames: int
    seconds: float
    policy: GapPolicy
    reason: GapReason


class ModelChangedData(Data, frozen=True, kw_only=True):
    """Another model watches the stream from here on; its state begins anew.

    Attributes:
        previous_model_id: Who watched until now.
        previous_encoder_id: Whose features it saw.
    """

    previous_model_id: str
    previous_encoder_id: str


EventData = ActionData | PhaseData | AnomalyData | StatusData | GapData | ModelChangedData

DATA_OF_TYPE: dict[
    EventType, type[ActionData | PhaseData | AnomalyData | StatusData | GapData | ModelChangedData]
] = {
    EventType.ACTION_START: ActionData,
    EventType.ACTION_UPDATE: ActionData,
    EventType.ACTION_END: ActionData,
    EventType.PHASE_TRANSITION: PhaseData,
    EventType.ANOMALY_START: AnomalyData,
    EventType.ANOMALY_END: AnomalyData,
    EventType.STREAM_STATUS: StatusData,
    EventType.STREAM_GAP: GapData,
    EventType.MODEL_CHANGED: ModelChangedData,
}
"""Which data an event type carries."""

SNAPSHOT_TYPES = frozenset(
    kind for kind, data in DATA_OF_TYPE.items() if data in (ActionData, PhaseData, AnomalyData)
)
"""Events that a frame decided: their `links` have a `snapshot`."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvents 1.0 object.

    Attributes:
        id: The same for the same input and model, whoever computes it: see `event_id`.
        source: `/streams/<stream id>`.
        type: See `EventType`.
        time: RFC 3339, UTC: when it happened (a start or an end, not its discovery).
        sequence: Contiguous per stream from 0, zero-padded so that it sorts as text.
        data: By type, see `DATA_OF_TYPE`.
        specversion: Always "1.0".
        datacontenttype: Always "application/json".
    """

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: EventType
    time: str
    datacontenttype: Literal["application/json"] = "application/json"
    sequence: str
    data: EventData

    @property
    def stream_id(self) -> str:
        """The camera."""
        return self.source.removeprefix("/streams/")

    @property
    def number(self) -> int:
        """`sequence` as a number."""
        return int(self.sequence)

    def emitted(self, *, latency: Ledger, at_ns: int) -> Event:
        """This event with its ledger complete, as it goes into the log at `at_ns` (UTC)."""
        timing = msgspec.structs.replace(self.data.timing, emitted_ns=str(at_ns))
        data = msgspec.structs.replace(
            self.data, timing=timing, latency=latency, pipeline_seconds=latency.pipeline_seconds
        )
        return msgspec.structs.replace(self, data=data)


def event_id(
    *,
    stream_id: str,
    epoch: int,
    model_id: str,
    type: EventType,
    label: str,
    start_seq: int,
    revision: int,
) -> str:
    """The id of an event: uuid5 of what it says, so that a replay yields the same ids.

    Start, update and end of one segment share everything but type and revision.
    """
    name = msgspec.json.encode([stream_id, epoch, model_id, type, label, start_seq, revision])
    return str(uuid.uuid5(NAMESPACE, name.decode()))


def snapshot_link(stream_id: str, frame: FrameRef) -> str:
    """Where the gateway has the picture of the frame that decided, as long as it is kept.

    A path of the gateway that serves the event, decided by the event alone, so that a replay gives
    the same.
    """
    return f"/v1/streams/{quote(stream_id, safe='')}/snapshots/{frame.epoch}-{frame.seq}.jpg"


def sequence_text(number: int) -> str:
    """A sequence number as CloudEvents wants it: text that sorts like the number."""
    return f"{number:016d}"


def rfc3339(ns: int) -> str:
    """UTC nanoseconds as RFC 3339 with microseconds."""
    seconds, rest = divmod(ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def encode_event(event: Event) -> bytes:
    """The JSON of an event, one line."""
    return msgspec.json.encode(event)


class _Envelope(msgspec.Struct):
    id: str
    source: str
    type: EventType
    time: str
    sequence: str
    data: msgspec.Raw


def decode_event(raw: bytes | str) -> Event:
    """The event of a JSON text.

    Raises:
        msgspec.ValidationError: It is not an event of a known type.
    """
    envelope = msgspec.json.decode(raw, type=_Envelope)
    return Event(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        time=envelope.time,
        sequence=envelope.sequence,
        data=msgspec.json.decode(envelope.data, type=DATA_OF_TYPE[envelope.type]),
    )
