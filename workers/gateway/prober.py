"""Looking at a source before it is added: in a process of its own, within a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException

from streamer.core.errors import ConfigError
from streamer.runtime.supervisor import child_environment

if TYPE_CHECKING:
    from streamer.sources.spec import SourceSpec

PROBE_SECONDS = 15.0
"""From the request to the answer."""

MAX_PROBES = 4
"""At once: each is a process that decodes video."""


class Prober:
    """Probes sources. The video libraries never enter the gateway's own process."""

    def __init__(self) -> None:
        self._running = 0

    async def probe(self, spec: SourceSpec) -> dict[str, Any]:
        """What was found, by the names of `streamer.sources.probe.Probe`.

        Raises:
            ConfigError: The source can't be read, or not in time.
            HTTPException: Too many are being looked at.
        """
        if self._running >= MAX_PROBES:
            raise HTTPException(
                429, f"{MAX_PROBES} sources are being probed; try again", {"Retry-After": "2"}
            )
        self._running += 1
        try:
            said = await self._ask(msgspec.json.encode(spec))
        finally:
            self._running -= 1
        try:
            found: dict[str, Any] = msgspec.json.decode(said)
        except msgspec.MsgspecError:
            raise ConfigError(f"source: {spec.stream_id}: probing it failed") from None
        if found["error"]:
            raise ConfigError(f"source: {found['error']}")
        return found

    async def _ask(self, source: bytes) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "workers.gateway.probe"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=child_environment(),
        )
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                said, _ = await process.communicate(source)
        except TimeoutError:
            raise ConfigError(
                f"source: expected an answer within {PROBE_SECONDS:g} s, found none"
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return said
