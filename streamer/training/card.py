"""The model card: a bundle's `README.md`, made from its configuration and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streamer.models.bundle import DecoderConfig, ModelConfig

ROWS = (
    ("Phase right, per frame, at once", ("frames", "phase_accuracy")),
    ("Phase macro F1, per frame, at once", ("frames", "phase_macro_f1")),
    ("Action macro F1, per frame, at once", ("frames", "action_macro_f1")),
    ("Phase right, per frame, by announced segments", ("phases", "frame_accuracy")),
    ("Edit score of announced phases", ("phases", "edit")),
    ("F1@10 of announced phases", ("phases", "f1_at_10")),
    ("F1@25 of announced phases", ("phases", "f1_at_25")),
    ("F1@50 of announced phases", ("phases", "f1_at_50")),
    ("Phase onsets found (within 2 s)", ("phases", "onsets_found_ratio")),
    ("Phase onset error, median (s)", ("phases", "onset_error_median_seconds")),
    ("Phase onset error, 90th percentile (s)", ("phases", "onset_error_p90_seconds")),
    ("Onset to first announcement, median (s)", ("phases", "announcement_delay_median_seconds")),
    ("Announcements taken back", ("phases", "retracted_ratio")),
    ("F1@25 of announced actions", ("actions", "f1_at_25")),
)
"""(what it is, where it stands in a part's metrics)."""
PARTS = {"test": "all", "test_rendered": "not compressed", "test_compressed": "H.264"}
"""Parts of the metrics that are columns of the table, where there are such."""


PURPOSE = {
    "frames": "says online which phase and which actions a video shows",
    "sequence": "says what a whole clip shows",
    "ctc": "says online which phase begins; it has learnt from the phases' order alone",
    "regression": "tells values",
    "caption": "describes a whole clip in words",
}
"""What a model with each head does."""


def model_card(config: ModelConfig, decoder: DecoderConfig, metrics: Mapping[str, Any]) -> str:
    """The card, Markdown.

    Args:
        config: What the model is.
        decoder: How its outputs become events.
        metrics: `origin` (a sentence about the data) and a mapping for each of `PARTS`.
    """
    return "\n".join(_lines(config, decoder, metrics)) + "\n"


def _lines(
    config: ModelConfig, decoder: DecoderConfig, metrics: Mapping[str, Any]
) -> Iterator[str]:
    yield f"# {config.name}"
    yield ""
    yield f"A temporal model of `streamer`: {PURPOSE[config.head]}."
    yield ""
    if config.head == "frames":
        yield f"- **Phases** (one at a time): {_listed(config.phases)}"
        yield f"- **Actions** (any number): {_listed(config.actions)}"
    else:
        pooled = "" if config.pooling == "none" else f", {config.pooling} pooling"
        yield f"- **Head**: {config.head}{pooled}: {_listed(config.phases or config.targets)}"
    yield (
        f"- **Network**: {config.architecture.upper()}, {config.feature_dim} features → "
        f"{config.projection_dim} → {config.num_layers} x {config.hidden_dim} → "
        f"{config.num_classes} outputs; {_directions(config)}"
    )
    yield f"- **Encoder**: `{config.encoder}` ({config.encoder_id})"
    yield f"- **Frames per second**: {config.analysis_fps:g}"
    yield f"- **Gaps**: state kept up to {config.gap.hold_seconds:g} s, reset after longer ones"
    yield (
        f"- **Decoder**: smoothing {decoder.smoothing_seconds:g} s, temperatures "
        f"{decoder.phase_temperature:g} (phases) and {decoder.action_temperature:g} (actions)"
    )
    yield ""
    yield "## Data"
    yield ""
    yield f"Trained on {metrics['origin']}."
    yield ""
    yield from _table(metrics)
    yield "## Limits"
    yield ""
    yield (
        "It knows scenes like those it was trained on and no others: on other pictures its outputs "
        "mean nothing, however sure they look. The figures hold for the data named above."
    )


def _directions(config: ModelConfig) -> str:
    if config.directions == 1:
        return "one direction, so that it needs no frame ahead"
    seen = f"{config.lookahead_frames} frames" if config.lookahead_frames else "all frames"
    return f"two directions, which see {seen} ahead"


def _table(metrics: Mapping[str, Any]) -> Iterator[str]:
    parts = [part for part in PARTS if part in metrics]
    if not parts:
        return
    clips = ", ".join(f"{metrics[part]['num_clips']} clips {PARTS[part]}" for part in parts)
    yield "## Metrics"
    yield ""
    yield f"On data that neither training nor the fitting of the decoder has seen ({clips}):"
    yield ""
    yield f"| | {' | '.join(PARTS[part] for part in parts)} |"
    yield f"|---|{'---:|' * len(parts)}"
    for text, (group, key) in ROWS:
        values = [metrics[part].get(group, {}).get(key) for part in parts]
        if any(value is not None for value in values):
            yield f"| {text} | {' | '.join(_number(value) for value in values)} |"
    yield ""


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels) or "none"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
