"""The names of all keys, and which partition a stream is of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of all keys. One partition's share a hash tag, and so a slot."""

    num_partitions: int = 1

    @property
    def streams(self) -> str:
        """Hash of the desired sources."""
        return "streamer:streams"

    def partition(self, stream_id: str) -> int:
        """blake2b(stream id) mod P."""
        return _partition_of(stream_id, self.num_partitions)

    @property
    def install(self) -> str:
        """Hash: what all who use this server must agree on."""
        return "streamer:install"

    @property
    def run(self) -> str:
        """String: the lock of the `streamer run` that uses this server, while one does."""
        return "streamer:run"

    @property
    def finished(self) -> str:
        """Hash: stream → the source that was read to its end."""
        return "streamer:finished"

    @property
    def models(self) -> str:
        """Hash: model id → its labels, of every model that ever made a state here."""
        return "streamer:models"

    @property
    def wanted_model(self) -> str:
        """String: the model that all temporal workers are to run."""
        return "streamer:model"

    @property
    def tokens(self) -> str:
        """Hash: name → access token of the gateways, hashed."""
        return "streamer:tokens"

    def members(self, role: str) -> str:
        """Sorted set: live workers of a role."""
        return f"streamer:members:{role}"

    @property
    def members_ingest(self) -> str:
        """Of the ingest workers."""
        return self.members("ingest")

    @property
    def members_temporal(self) -> str:
        """Of the temporal workers."""
        return self.members("temporal")

    def lease(self, partition: int) -> str:
        """Hash: owner, generation, expiry by server time."""
        return f"streamer:{{{partition}}}:lease"

    def dead(self, partition: int) -> str:
        """Stream: dead letters, what was refused for good."""
        return f"streamer:{{{partition}}}:dead"

    def watch(self, stream_id: str) -> str:
        """Hash: the lease of the ingest worker that reads the source."""
        return self._of(stream_id, "watch")

    def anchors(self, stream_id: str) -> str:
        """Stream: past states, from which the events after them can be recomputed."""
        return self._of(stream_id, "anchors")

    def events(self, partition: int) -> str:
        """Stream of events: the public subscription."""
        return f"streamer:{{{partition}}}:events"

    def source(self, stream_id: str) -> str:
        """Hash: session, epoch, last accepted position."""
        return self._of(stream_id, "source")

    def frames(self, stream_id: str) -> str:
        """Stream: the frame path to the encoder."""
        return self._of(stream_id, "frames")

    def features(self, stream_id: str) -> str:
        """Stream: the input log."""
        return self._of(stream_id, "features")

    def snapshots(self, stream_id: str) -> str:
        """Stream: pictures of frames that decided, by epoch and seq."""
        return self._of(stream_id, "snapshots")

    def preview(self, stream_id: str) -> str:
        """String: the newest picture, while somebody watches."""
        return self._of(stream_id, "preview")

    def watched(self, stream_id: str) -> str:
        """String: pictures per second that somebody wants to see. It expires."""
        return self._of(stream_id, "watched")

    def state(self, stream_id: str) -> str:
        """Hash: version, position, state."""
        return self._of(stream_id, "state")

    def _of(self, stream_id: str, kind: str) -> str:
        return _key_of(stream_id, kind, self.num_partitions)


def key_pattern(kind: str) -> str:
    """The glob of all keys of a kind, whatever their partition and stream.

    Args:
        kind: Name of a property or method of `Keys` that names them, for example `state`.
    """
    names = Keys()
    name = getattr(names, kind)
    if isinstance(name, str):
        return name
    key: str = name(0) if kind in _OF_PARTITIONS else name("*")
    return re.sub(r"\{\d+\}", "{*}", key)


_OF_PARTITIONS = ("lease", "dead", "events")


@lru_cache(maxsize=65_536)
def _key_of(stream_id: str, kind: str, num_partitions: int) -> str:
    # Asked for every stream at every turn.
    return f"streamer:{{{_partition_of(stream_id, num_partitions)}}}:{kind}:{stream_id}"


def _partition_of(stream_id: str, num_partitions: int) -> int:
    digest = blake2b(stream_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % num_partitions
