"""Where does the time go?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.grafana.source.board import board
from deploy.grafana.source.overview import QUANTILE
from deploy.grafana.source.panels import Query, bars, heat, lines, waterfall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

STAGES = ("decode", "frame_wait", "encode", "feature_wait", "temporal", "commit")
"""Of a frame, in the order it goes through them; their sum is what the latency budget is about."""


def _mean(stage: str) -> str:
    which = f'{{stage="{stage}"}}[$__rate_interval]'
    return (
        f"sum(rate(streamer_stage_seconds_sum{which}))"
        f" / sum(rate(streamer_stage_seconds_count{which}))"
    )


def _quantile(stage: str) -> str:
    which = f'{{stage="{stage}"}}[$__rate_interval]'
    return f"histogram_quantile(0.95, sum by (le) (rate(streamer_stage_seconds_bucket{which})))"


def _stages() -> Sequence[Builder[Panel]]:
    """Each stage's share."""
    return [
        waterfall(
            "Waterfall",
            "Mean time of a frame in each stage, stacked in the order it passes them. Waits grow "
            "before what is too slow: frame_wait before the encoder, feature_wait before the "
            "temporal worker.",
            *(Query(_mean(stage), stage) for stage in STAGES),
            unit="s",
            width=16,
        ),
        bars(
            "Slow frames by stage",
            "95th percentile of each stage, now.",
            *(Query(_quantile(stage), stage) for stage in STAGES),
            unit="s",
        ),
    ]


def _spread() -> Sequence[Builder[Panel]]:
    """Heat maps."""
    return [
        heat(
            "Event latency, spread",
            "How latencies of events are spread. Two bands: two kinds of streams or of hosts. "
            "Points are events with a trace.",
            "streamer_event_latency_seconds",
            unit="s",
        ),
        heat(
            "Frame age",
            "From the receipt of a frame to the commit of its outcome, whether or not an event "
            "came of it.",
            "streamer_frame_age_seconds",
            unit="s",
        ),
    ]


def _over_time() -> Sequence[Builder[Panel]]:
    """Quantiles."""
    return [
        lines(
            "Event latency, quantiles",
            "Quantiles, beside the budget.",
            Query(QUANTILE.format(0.5), "p50"),
            Query(QUANTILE.format(0.95), "p95"),
            Query(QUANTILE.format(0.99), "p99"),
            unit="s",
            exemplars=True,
            budget=True,
            runbooks=["LatencyBudgetBurnFast", "LatencyBudgetBurnSlow"],
        ),
        lines(
            "95th percentile by stage",
            "The stage that moves with the event latency is the one to look at.",
            Query(
                "histogram_quantile(0.95, sum by (le, stage) "
                "(rate(streamer_stage_seconds_bucket[$__rate_interval])))",
                "{{stage}}",
            ),
            unit="s",
        ),
        lines(
            "Decision delay",
            "The model's own hesitation: from when something began to the frame that decided. "
            "Apart from the latency, and not part of the budget.",
            Query(
                "histogram_quantile(0.5, sum by (le) "
                "(rate(streamer_decision_delay_seconds_bucket[$__rate_interval])))",
                "p50",
            ),
            Query(
                "histogram_quantile(0.95, sum by (le) "
                "(rate(streamer_decision_delay_seconds_bucket[$__rate_interval])))",
                "p95",
            ),
            unit="s",
        ),
        lines(
            "Events late and on time",
            "Against the budget.",
            Query("sum(rate(streamer_events_late_total[$__rate_interval]))", "late"),
            Query("sum(rate(streamer_events_on_time_total[$__rate_interval]))", "on time"),
            unit="eps",
            stacked=True,
        ),
    ]


def dashboard() -> Dashboard:
    """Waterfall of the stages, heat maps, quantiles."""
    return board(
        "streamer-latency",
        "streamer / Latency",
        "Where does the time between a frame and its event go?",
        [("Stages", _stages()), ("Spread", _spread()), ("Over time", _over_time())],
    )
