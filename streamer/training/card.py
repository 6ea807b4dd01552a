"""The model card: a bundle's `README.md`, made from its configuration and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.training.clip_card import clip_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streamer.models.bundle import AnomalyConfig, DecoderConfig, ModelConfig, PhaseFilterConfig

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
_CELLS = {
    "lstm": "LSTM",
    "lstm_peephole": "LSTM with peepholes",
    "lstm_coupled": "LSTM with coupled gates",
    "gru": "GRU",
}


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
        metrics: `origin` (a sentence about the data), a mapping for each of `PARTS`,
            `repeats` of a training with several seeds, and `quantisation` of a quantised model.
    """
    return "\n".join(_lines(config, decoder, metrics)) + "\n"


def _lines(
    config: ModelConfig, decoder: DecoderConfig, metrics: Mapping[str, Any]
) -> Iterator[str]:
    yield f"# {config.name}"
    yield ""
    if config.num_classes:
        yield f"A temporal model of `streamer`: {PURPOSE[config.head]}."
    else:
        yield "A temporal model of `streamer`: says online when a camera shows something unusual."
    yield ""
    if config.head != "frames":
        pooled = "" if config.pooling == "none" else f", {config.pooling} pooling"
        labels = config.phases or config.targets
        told = f"{len(labels)} words" if config.head == "caption" else _listed(labels)
        yield f"- **Head**: {config.head}{pooled}: {told}"
    elif config.num_classes:
        yield f"- **Phases** (one at a time): {_listed(config.phases)}"
        yield f"- **Actions** (any number): {_listed(config.actions)}"
    if config.anomaly_dim:
        yield (
            f"- **Anomalies**: {config.anomaly_dim} components of the next frame's features, "
            f"predicted{'; what these videos show is normal to it' if config.num_classes else ''}"
        )
    yield (
        f"- **Network**: {_CELLS[config.architecture]}, {config.feature_dim} features → "
        f"{config.projection_dim} → {config.num_layers} x {config.hidden_dim} → "
        f"{config.num_outputs} outputs{', layer normalisation' * config.layer_norm}; "
        f"{_directions(config)}"
    )
    yield f"- **Encoder**: `{config.encoder}` ({config.encoder_id})"
    yield f"- **Frames per second**: {config.analysis_fps:g}"
    yield f"- **Gaps**: state kept up to {config.gap.hold_seconds:g} s, reset after longer ones"
    if config.num_classes and config.head in ("frames", "ctc"):
        yield (
            f"- **Decoder**: smoothing {decoder.smoothing_seconds:g} s, temperatures "
            f"{decoder.phase_temperature:g} (phases) and {decoder.action_temperature:g} (actions)"
        )
    if decoder.phase_filter is not None and decoder.phase_filter.forbids:
        yield f"- **Transitions** (no others): {_transitions(config, decoder.phase_filter)}"
    yield ""
    yield "## Data"
    yield ""
    yield f"Trained on {metrics['origin']}."
    yield ""
    if config.head != "frames" and "test" in metrics:
        yield from clip_table(metrics["test"])
    elif any(part in metrics for part in PARTS):
        yield from _table(metrics)
    if "repeats" in metrics:
        yield from _repeats(metrics["repeats"])
    if decoder.anomaly is not None and "anomaly" in metrics:
        yield from _alarms(decoder.anomaly, metrics["anomaly"])
    if "quantisation" in metrics:
        yield from _quantisation(metrics["quantisation"])
    yield "## Limits"
    yield ""
    if not config.num_classes:
        yield (
            "It knows what this camera showed while it was recorded and nothing else: what is new "
            "is unusual to it, a moved camera or another light too. What happened in the recording "
            "is normal to it, also if it was not."
        )
        return
    yield (
        "It knows scenes like those it was trained on and no others: on other pictures its outputs "
        "mean nothing, however sure they look. The figures hold for the data named above."
    )


def _alarms(anomaly: AnomalyConfig, found: Mapping[str, Any]) -> Iterator[str]:
    percent = f"{100 * found['sureness']:g} %"
    yield "## False alarms"
    yield ""
    yield (
        f"- **Stated**: {anomaly.false_alarms_per_hour:g} per hour on normal video; expected: "
        f"{found['expected_false_alarms_per_hour']:g}; with {percent} sureness at most "
        f"{found['sure_false_alarms_per_hour']:g}"
    )
    yield (
        f"- **Threshold**: a smoothed score of {anomaly.enter:g} nats per dimension, left at "
        f"{anomaly.exit:g}; the median of normal video is {found['median_score']:g}"
    )
    yield (
        f"- **Rests on** {found['calibration_minutes']:g} minutes that {_use(found)} "
        f"({found['training_minutes']:g} minutes did), in {found['blocks']} blocks of "
        f"{found['block_seconds']:g} s; {found['announced_in_calibration']} announced there"
    )
    extrapolation = found["extrapolation"]
    if extrapolation > 1:
        yield (
            f"- **Extrapolated**: the time between two false alarms is {extrapolation:g} times as "
            "long as that video. The tail of the blocks' highest scores (generalised Pareto, shape "
            f"{found['tail_shape']:g}, scale {found['tail_scale']:g}) was followed so far; the "
            f"{percent} count chance in these blocks, not a night, a season or a shift that the "
            "recording did not show"
        )
    yield ""


def _use(found: Mapping[str, Any]) -> str:
    """Of the calibration part; beside labels it is the validation part."""
    if "test_minutes" not in found:
        return "taught nothing"
    return (
        f"told when to stop learning labels and fitted their decoder; "
        f"{found['announced_in_test']} announced in {found['test_minutes']:g} minutes of the test "
        "part"
    )


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


def _repeats(found: Mapping[str, Any]) -> Iterator[str]:
    seeds = ", ".join(map(str, found["seeds"]))
    columns = " | ".join(f"seed {seed}" for seed in found["seeds"])
    losses = ", ".join(f"{loss:.3f}" for loss in found["validation_losses"])
    yield f"## Over {len(found['seeds'])} seeds"
    yield ""
    yield (
        f"The same training with the seeds {seeds}, on the same parts of the data. This bundle is "
        f"that of seed {found['kept']}: its loss on the validation part is the lowest ({losses}); "
        "the test part had no say."
    )
    yield ""
    yield f"| | mean ± sd | {100 * found['level']:g} % | {columns} |"
    yield f"|---|---:|---:|{'---:|' * len(found['seeds'])}"
    for text, (group, key) in ROWS:
        row = found["metrics"].get(f"{group}.{key}")
        if row is None or all(value is None for value in row["each"]):
            continue
        spread = f"{_number(row['mean'])} ± {_number(row['standard_deviation'])}"
        bounds = row["interval"]
        interval = "-" if bounds is None else " to ".join(map(_number, bounds))
        yield f"| {text} | {spread} | {interval} | {' | '.join(map(_number, row['each']))} |"
    yield ""
    if found["num_resamples"]:
        yield (
            f"The interval is of the mean over these seeds, by a bootstrap over the "
            f"{found['num_videos']} videos of the test part ({found['num_resamples']} resamples)."
        )
    else:
        yield "One video in the test part has no interval."
    yield ""


def _quantisation(drift: Mapping[str, Any]) -> Iterator[str]:
    yield "## Quantisation"
    yield ""
    yield (
        f"The weights of `model.onnx` are int8. The metrics above are those of the float32 model "
        f"{drift['of']}; against it, on {drift['num_frames']} frames of {drift['features_of']}:"
    )
    yield ""
    yield "| | |"
    yield "|---|---:|"
    yield f"| Largest difference of a probability | {drift['max_difference']:.4f} |"
    yield f"| Mean difference of a probability | {drift['mean_difference']:.5f} |"
    yield f"| Frames whose most probable phase is another | {drift['changed_phases']} |"
    yield f"| Decisions on actions that are others | {drift['changed_actions']} |"
    yield ""


def _directions(config: ModelConfig) -> str:
    if config.directions == 1:
        return "one direction, so that it needs no frame ahead"
    if config.lookahead_frames:
        return (
            f"two directions, the outputs for a frame known {config.lookahead_frames} frames "
            f"({1000 * config.lookahead_seconds:.0f} ms) later"
        )
    return "two directions, for whole recordings only"


def _transitions(config: ModelConfig, chain: PhaseFilterConfig) -> str:
    following = [
        tuple(label for label, chance in zip(config.phases, row, strict=True) if chance)
        for row in chain.transition_PP
    ]
    pairs = zip(config.phases, following, strict=True)
    return "; ".join(f"`{phase}` → {_listed(labels)}" for phase, labels in pairs)


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels) or "none"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
