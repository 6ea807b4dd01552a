"""Which trace a sampled frame belongs to, in the words of W3C Trace Context."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-0[13]")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The trace of a sampled frame, and the span in it that others are children of.

    It says nothing about the frame: no event, state or version depends on it.

    Attributes:
        trace_id: 32 hexadecimal digits, lower case.
        span_id: 16 hexadecimal digits, lower case.
    """

    trace_id: str
    span_id: str

    @property
    def traceparent(self) -> str:
        """The header value of <https://www.w3.org/TR/trace-context/#traceparent-header>."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    @classmethod
    def parse(cls, traceparent: str | None) -> Self | None:
        """The context of a header value; None if there is none, or it is no sampled one.

        A value that can't be read is passed over, as the standard asks: a trace is lost by it, and
        nothing else.
        """
        match = _TRACEPARENT.fullmatch(traceparent or "")
        return None if match is None else cls(match[1], match[2])
