"""The version of a state names the exact input that made it."""

from __future__ import annotations

from hashlib import blake2b


def next_version(
    version: bytes, position: int, payload: bytes, model_id: str, *, refusal: str = ""
) -> bytes:
    """The version after one more entry: a digest chain, so that it names the exact input.

    Args:
        version: The version before; empty at the start.
        position: The entry's place in the input log.
        payload: Its exact bytes.
        model_id: Who folded it in.
        refusal: Why it was left out instead.
    """
    digest = blake2b(version, digest_size=16, person=b"streamer-1")
    digest.update(position.to_bytes(8, "big"))
    digest.update(f"{model_id}\n{refusal}\n".encode())
    digest.update(payload)
    return digest.digest()
