"""What is happening, and does the model keep up?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.grafana.source.board import board, stream_variable
from deploy.grafana.source.panels import (
    Query,
    labels_timeline,
    lines,
)
from deploy.grafana.source.tables import Column, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

MINE = 'stream=~"$stream"'


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))"


def _events() -> Sequence[Builder[Panel]]:
    """What happens in front of the cameras."""
    return [
        labels_timeline(
            "Phases",
            "The confirmed phase of each stream over time.",
            f"streamer_stream_phase{{{MINE}}} == 1",
            row="stream",
            label="phase",
        ),
        lines(
            "Events by type",
            "Committed to the log, all streams.",
            Query(_rate("streamer_events_total", "type"), "{{type}}"),
            unit="eps",
            stacked=True,
            width=8,
        ),
        lines(
            "Actions",
            "Confirmed starts by label, per minute.",
            Query(f"60 * {_rate('streamer_actions_total', 'label')}", "{{label}}"),
            unit="cpm",
            stacked=True,
            width=8,
        ),
        lines(
            "Events by stream",
            "One that says nothing while the others do: see its phase and its camera.",
            Query(_rate(f"streamer_stream_events_total{{{MINE}}}", "stream"), "{{stream}}"),
            unit="eps",
            width=8,
        ),
    ]


def _work() -> Sequence[Builder[Panel]]:
    """What the temporal workers do."""
    return [
        lines(
            "Input not yet folded in",
            "Frames in the input logs. Near 0 when all is well.",
            Query("sum by (instance) (streamer_input_lag_frames)", "{{instance}}"),
            unit="short",
            width=8,
            runbooks=["InputLagGrowing"],
        ),
        lines(
            "Age of the oldest input",
            "How far behind each worker is.",
            Query("max by (instance) (streamer_input_oldest_seconds)", "{{instance}}"),
            unit="s",
            width=8,
            steps=((None, "green"), (2, "red")),
            runbooks=["InputLagGrowing"],
        ),
        lines(
            "Streams behind",
            "Streams with more than a second of input waiting.",
            Query("sum by (instance) (streamer_input_lag_streams)", "{{instance}}"),
            unit="short",
            width=8,
            runbooks=["InputLagGrowing"],
        ),
        lines(
            "Streams held",
            "States in memory, by worker; with the leases that give them.",
            Query("sum by (instance) (streamer_active_streams)", "streams {{instance}}"),
            Query(
                'sum by (instance) (streamer_leases{role="temporal"})', "partitions {{instance}}"
            ),
            unit="short",
            width=8,
        ),
        lines(
            "Leases taken and lost",
            "A steady exchange means workers that do not live or can't reach Redis.",
            Query(_rate("streamer_lease_changes_total", "role, change"), "{{role}} {{change}}"),
            unit="ops",
            width=8,
        ),
        lines(
            "Steps and commits",
            "Calls of the model, and steps of streams that are in the store.",
            Query(_rate("streamer_model_steps_total", "instance"), "steps {{instance}}"),
            Query(_rate("streamer_commits_total", "instance"), "commits {{instance}}"),
            unit="ops",
            width=8,
        ),
    ]


def _trouble() -> Sequence[Builder[Panel]]:
    """What was missing, lost or refused."""
    return [
        lines(
            "Gaps by reason",
            "Video that is missing or was not used, per minute. Each is a stream.gap event.",
            Query(f"60 * {_rate('streamer_gaps_total', 'reason')}", "{{reason}}"),
            unit="cpm",
            width=8,
        ),
        lines(
            "States begun anew",
            "model: another one took over. state: the stored one could not be read.",
            Query(
                f"60 * {_rate(f'streamer_state_resets_total{{{MINE}}}', 'reason')}", "{{reason}}"
            ),
            unit="cpm",
            width=8,
        ),
        lines(
            "Refused by the store or for good",
            "Commits and entries refused, by answer; dead letters, by reason.",
            Query(
                _rate('streamer_refused_total{role="temporal"}', "operation, answer"),
                "{{operation}} {{answer}}",
            ),
            Query(_rate("streamer_dead_letters_total", "reason"), "dead: {{reason}}"),
            unit="ops",
            width=8,
            runbooks=["DeadLetters"],
        ),
    ]


def _model() -> Sequence[Builder[Panel]]:
    """Which one runs, and whether it still fits."""
    return [
        rows(
            "Models",
            "Which one each worker runs.",
            [
                Column("instance"),
                Column("", "max by (instance, name, model) (streamer_model_info)"),
                Column("name"),
                Column("model"),
            ],
            by="instance",
            width=12,
        ),
        lines(
            "Models wanted and waited for",
            "Above 0 for long: a worker can't load the model that is wanted. Loads are counted by "
            "outcome.",
            Query("sum by (instance) (streamer_model_pending)", "pending {{instance}}"),
            Query("sum by (instance) (streamer_streams_awaiting_model)", "waiting {{instance}}"),
            Query("sum by (outcome) (streamer_model_loads_total)", "loads {{outcome}}"),
            unit="short",
            runbooks=["ModelNotLoaded"],
        ),
        lines(
            "Distance of features from the training",
            "Squared, of the mean feature, per dimension. Mahalanobis: a frame of the training has "
            "1 on the mean; above 4 what is seen is not what it was trained on. Below, a few "
            "cameras are never at 0, and a change counts.",
            Query("max by (model) (streamer_drift_feature_mahalanobis)", "Mahalanobis², {{model}}"),
            Query("max by (model) (streamer_drift_feature_frechet)", "Fréchet², {{model}}"),
            unit="short",
            width=8,
            runbooks=["FeatureDrift"],
        ),
        lines(
            "Change of predicted labels",
            "Population stability index: below 0.1 none, above 0.25 a significant one.",
            Query("max by (labels) (streamer_drift_prediction_psi)", "{{labels}}"),
            unit="short",
            width=8,
            runbooks=["PredictionDrift"],
        ),
        lines(
            "Entropy of predictions",
            "How unsure the model is of a frame, mean.",
            Query("max by (labels) (streamer_drift_prediction_entropy_nats)", "{{labels}}"),
            unit="short",
            width=8,
            runbooks=["FeatureDrift"],
        ),
    ]


def dashboard() -> Dashboard:
    """Phases, events, work of the temporal workers, drift."""
    return board(
        "streamer-temporal",
        "streamer / Temporal and events",
        "What is happening in front of the cameras, and does the model keep up?",
        [("Events", _events()), ("Work", _work()), ("Trouble", _trouble()), ("Model", _model())],
        variables=[stream_variable()],
    )
