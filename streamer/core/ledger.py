"""The latency ledger: seconds per stage, from receipt of a frame to the commit of its events."""

from __future__ import annotations

import msgspec


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that one frame spent in each stage. The stages follow each other without holes.

    Attributes:
        decode_seconds: Packet received → pixels in the encoder's input size.
        frame_wait_seconds: Pixels ready → the encoder took them into a batch.
        encode_seconds: Batch taken → features ready.
        lookahead_wait_seconds: Features ready → those of the last frame that the model looked ahead
            at were ready too, or it was known that none come. It is the model's own hesitation, not
            the machinery's. Unset, and not in an event's JSON, where no model looks ahead.
        feature_wait_seconds: Features ready → the temporal worker took them into a step.
        temporal_seconds: Step begun → model outputs decoded into events.
        commit_seconds: Outputs decoded → commit sent, plus the round trip of the worker's
            previous commit. An event can't carry the duration of its own.
    """

    decode_seconds: float = 0.0
    frame_wait_seconds: float = 0.0
    encode_seconds: float = 0.0
    lookahead_wait_seconds: float | msgspec.UnsetType = msgspec.UNSET
    feature_wait_seconds: float = 0.0
    temporal_seconds: float = 0.0
    commit_seconds: float = 0.0

    @property
    def pipeline_seconds(self) -> float:
        """The sum: what the machinery took, without the model's own hesitation."""
        stages = (field for field in self.__struct_fields__ if field != "lookahead_wait_seconds")
        return float(sum(getattr(self, field) for field in stages))
