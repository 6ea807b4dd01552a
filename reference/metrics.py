"""`docs/metrics.md`: every metric family, from its declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.config import MetricsSettings, Settings
from streamer.telemetry.families import CATALOG, Role, of_role
from streamer.telemetry.families.family import EVERY_ROLE
from streamer.telemetry.series import LINGER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamer.telemetry.families import Family

PAGE = "metrics.md"

HEADING = "| name | type | unit | labels | series | meaning |"

_HEAD = """\
# Metrics

Every worker serves its metrics at `/metrics` of its metrics port (`metrics.host`, \
`metrics.port`), in Prometheus' text format or in OpenMetrics, whichever is asked for. This page \
is written from the code, and a test compares it with what real workers serve. How to scrape it, \
and the dashboards and alerts made from it: [monitoring](monitoring.md).

## Conventions

- Names begin with `streamer_`. Base units: seconds, bytes. Counters end in `_total`; there are no \
`_created` series. A family whose name ends in `_info` is 1, and says something in its labels.
- `stream` is the only label by camera, and no histogram has it. Labels never hold URLs, paths, \
or anything else that somebody could make up without end.
- Wall-clock times are never subtracted to get a duration, as in \
[the decision about clocks](decisions/2026-11-21-one-clock-per-host.md).

## How many series

The column *series* says what decides their number:

- *worker*: not the number of streams.
- *core*: one per stream. No role has more than three of these families.
- *detail*: more per stream. All detail families of a worker share the budget \
`metrics.detail_series` (default {detail_series}). Beyond it a counter counts under `stream=""`, \
so that sums stay right; a gauge is left out; and `streamer_metrics_left_out` says how many label \
sets have no series of their own.

So a worker with 500 streams has fewer than 2,000 series. When a stream is removed or handed to \
another worker its gauges go at once, and its counters {linger:g} s later, so that its last counts \
can still be read.

## Buckets

| setting | of | default |
|---|---|---|
{buckets}

`latency_budget_seconds` (default {budget:g}) is always a bucket of \
`streamer_event_latency_seconds` and `streamer_frame_age_seconds`.

Each worker also has the `process_*` and `python_*` families of the Prometheus client library.
"""


def text() -> str:
    """The whole page."""
    metrics = MetricsSettings()
    rows: tuple[tuple[str, str, tuple[float, ...]], ...] = (
        ("stage_buckets", "stages, latency, age, delivery; seconds", metrics.stage_buckets),
        ("batch_buckets", "`streamer_batch_size`; frames", metrics.batch_buckets),
        ("delay_buckets", "`streamer_decision_delay_seconds`; seconds", metrics.delay_buckets),
    )
    head = _HEAD.format(
        detail_series=metrics.detail_series,
        linger=LINGER_SECONDS,
        budget=Settings().latency_budget_seconds,
        buckets="\n".join(map(_bucket_row, rows)),
    )
    every = [family for family in CATALOG if family.roles == EVERY_ROLE]
    parts = [head, _table("Every role", every)]
    for role in Role:
        own = [family for family in of_role(role) if family not in every]
        parts.append(_table(role.value.capitalize(), own))
    return "\n".join(parts)


def _bucket_row(row: tuple[str, str, Sequence[float]]) -> str:
    key, of, bounds = row
    return f"| `metrics.{key}` | {of} | {', '.join(f'{bound:g}' for bound in bounds)} |"


def _table(title: str, families: Iterable[Family]) -> str:
    rows = "\n".join(map(_row, families))
    return f"## {title}\n\n{HEADING}\n|---|---|---|---|---|---|\n{rows}\n"


def _row(family: Family) -> str:
    labels = "<br>".join(f"`{label}`: {values}" for label, values in family.labels.items())
    cells = (
        f"`{family.name}`",
        family.kind.value,
        family.unit,
        labels,
        family.level.value,
        family.meaning,
    )
    return f"| {' | '.join(cells)} |"
