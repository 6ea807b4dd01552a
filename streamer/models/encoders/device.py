"""Where an encoder computes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from streamer.core.errors import ConfigError


class DeviceKind(StrEnum):
    """What an encoder can run on."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True)
class Device:
    """One device.

    Attributes:
        kind: See `DeviceKind`.
        index: Which GPU; 0 on a CPU.
    """

    kind: DeviceKind
    index: int = 0

    def __str__(self) -> str:
        return "cpu" if self.kind is DeviceKind.CPU else f"{self.kind.value}:{self.index}"


def parse_device(text: str) -> Device:
    """`cpu`, `cuda` or `cuda:1`.

    Raises:
        ConfigError: It is none of those.
    """
    match = re.fullmatch(r"(cpu)|cuda(?::(\d+))?", text)
    if match is None:
        raise ConfigError(f"device: expected cpu, cuda or cuda:N, found {text!r}")
    if match[1]:
        return Device(DeviceKind.CPU)
    return Device(DeviceKind.CUDA, int(match[2] or 0))
