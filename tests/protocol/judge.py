"""What the server holds, compared with an offline fold of the entries in its log."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streamer.state.redis import RedisCheckpointStore
from streamer.transport.state_codec import encode_state
from tests.protocol.bench import KEYS, STREAMS
from tests.protocol.offline import OfflineFold, untimed_json

if TYPE_CHECKING:
    from tests.protocol.wires import Contents, Server


class Judge:
    """Knows what the logs were, and that they only grow.

    Attributes:
        logs: By stream, position and bytes of each entry, as of the last time it looked.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._offline = OfflineFold()
        self._checked: Contents | None = None
        self.logs: dict[str, list[tuple[int, bytes]]] = {}

    def forget(self) -> None:
        """The server was rolled back."""
        self.logs.clear()

    def check(self) -> None:
        """Compare, if anything has changed."""
        contents = self._server.contents()
        if contents == self._checked:
            return
        client = self._server.client
        pipeline = client.pipeline(transaction=False)
        for partition in range(KEYS.num_partitions):
            pipeline.xrange(KEYS.events(partition))
            pipeline.xrange(KEYS.dead(partition))
        for stream_id in STREAMS:
            pipeline.xrange(KEYS.features(stream_id))
        *shared, log0, log1, log2 = pipeline.execute()
        events = [fields for rows in shared[::2] for _, fields in rows]
        letters = [fields for rows in shared[1::2] for _, fields in rows]
        logs = zip(STREAMS, (log0, log1, log2), strict=True)
        for stream_id, log in logs:
            rows = [(int(key.partition(b"-")[0]), fields[b"e"]) for key, fields in log]
            known = self.logs.get(stream_id, [])
            assert rows[: len(known)] == known, "the log lost or changed an entry"
            self.logs[stream_id] = rows
            self._check_stream(
                stream_id,
                rows,
                [fields for fields in events if fields[b"stream"] == stream_id.encode()],
                [f for f in letters if f[b"key"] == KEYS.features(stream_id).encode()],
            )
        self._checked = contents

    def _check_stream(
        self,
        stream_id: str,
        rows: list[tuple[int, bytes]],
        events: list[dict[bytes, bytes]],
        letters: list[dict[bytes, bytes]],
    ) -> None:
        numbers = [int(fields[b"sequence"]) for fields in events]
        assert numbers == list(range(len(events))), "event numbers are not contiguous"
        ids = [fields[b"id"] for fields in events]
        assert len(set(ids)) == len(ids), "an event id occurs twice"
        poison = {
            int(f[b"position"]): f[b"detail"].decode() for f in letters if f[b"reason"] == b"poison"
        }
        self._server.seen.update(f"letter {f[b'reason'].decode()}" for f in letters)
        steps = self._offline.fold(stream_id, rows, poison=poison)
        stored: Any = RedisCheckpointStore(self._server.client, keys=KEYS).load([stream_id])[
            stream_id
        ]
        at = [step.after.position for step in steps]
        assert stored.position in at, "the state is after an entry that the log has not"
        steps = steps[: at.index(stored.position) + 1]
        after = steps[-1].after
        assert stored.version == after.version, "the state is of another input"
        told = [untimed_json(fields[b"event"]) for fields in events]
        expected = [event for step in steps for event in step.events]
        assert told == expected, "the events are not those of the offline fold"
        assert stored.sequence == len(events), "the state's event number is not the next"
        if stored.state is not None:
            state = replace(after.state, row=stored.state.row)
            assert stored.raw == encode_state(state), "the state is not that of the offline fold"
        kept = [(int(f[b"position"]), f[b"reason"].decode(), f[b"bytes"]) for f in letters]
        assert kept == [(m.position, m.reason, m.payload) for step in steps for m in step.letters]
