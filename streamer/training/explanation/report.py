"""The report of an explanation: Markdown for people, JSON for programs, and pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.explanation.look import output_names
from streamer.training.explanation.pictures import BAND, SCORES, plot_importance, plot_look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamer.models.bundle import Bundle
    from streamer.training.annotations import Labels
    from streamer.training.explanation.importance import GroupImportance, Importance
    from streamer.training.explanation.look import Look
    from streamer.training.explanation.run import Explanation, Plan

FORMAT_VERSION = 1
"""Of `report.json`."""
SATURATED = (0.1, 0.9)
"""Gates below are counted as shut, those above as open, as in Karpathy, Johnson and Li,
"Visualizing and Understanding Recurrent Networks" (2015)."""


def write_report(
    out: Path, explanation: Explanation, *, bundle: Bundle, labels: Labels, plan: Plan, origin: str
) -> None:
    """Write `report.md`, `report.json` and the pictures.

    Args:
        out: The folder.
        explanation: What was found.
        bundle: What was explained.
        labels: What may be true in the videos.
        plan: How.
        origin: What it was explained on, a line.

    Raises:
        ConfigError: The folder can't be written.
    """
    text = "\n".join(_lines(explanation, bundle, plan, origin)) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if explanation.importance is not None:
            plot_importance(out / "importance.png", explanation.importance)
        for number, look in enumerate(explanation.looks, start=1):
            plot_look(out / _picture(number), look, labels=labels, config=bundle.config)
        (out / "report.md").write_text(text, encoding="utf-8")
        (out / "report.json").write_bytes(_json(explanation, bundle, plan, origin))
    except OSError as error:
        raise ConfigError(f"{out}: can't write the report ({error.strerror})") from error


def _picture(number: int) -> str:
    return f"video-{number}.png"


def _lines(explanation: Explanation, bundle: Bundle, plan: Plan, origin: str) -> Iterator[str]:
    config = bundle.config
    yield "# Explanation"
    yield ""
    yield f"- **Data**: {origin}"
    yield f"- **Bundle**: `{bundle.path}` ({config.name}, {bundle.model_id})"
    yield (
        f"- **Model**: {config.architecture}, {config.num_layers} x {config.hidden_dim}, head "
        f"{config.head}, {config.feature_dim} features at {config.analysis_fps:g} per second"
    )
    for sentence in explanation.left_out:
        yield f"- **Left out**: {sentence}"
    if explanation.importance is not None:
        yield from _importance_lines(explanation.importance, plan)
    if any(look.weights_T is not None for look in explanation.looks):
        yield from _weights_lines(explanation, bundle)
    if any(look.layers for look in explanation.looks):
        yield from _gate_lines(explanation)
    yield from ("", "## Videos")
    for number, look in enumerate(explanation.looks, start=1):
        yield from ("", f"![{look.example.name}]({_picture(number)})")


def _importance_lines(importance: Importance, plan: Plan) -> Iterator[str]:
    permuting = plan.permuting
    how = (
        "taken from another video, from a random frame on"
        if permuting.shuffle == "videos"
        else f"shuffled within each video by blocks of {permuting.block_frames} frames"
    )
    yield from ("", "## Importance of features", "")
    yield (
        f"What each score loses if a group's features are {how}: mean ± standard deviation over "
        f"{permuting.num_repeats} repeats, seed {permuting.seed}. Outputs of single frames, "
        "before the decoder."
    )
    yield ""
    yield "| features | number | " + " | ".join(SCORES[score] for score in importance.scores) + " |"
    yield "|---|---:|" + "---:|" * len(importance.scores)
    whole = " | ".join(f"{score:.3f}" for score in importance.scores.values())
    size = len(importance.together.group.columns)
    yield f"| none of them: the score itself | {size} | {whole} |"
    first = next(iter(importance.scores))
    ranked = sorted(importance.groups, key=lambda found: -found.mean(first))
    for found in (importance.together, *ranked):
        cells = []
        for score in importance.scores:
            spread = found.deviation(score)
            around = "" if math.isnan(spread) else f" ± {spread:.3f}"
            cells.append(f"{found.mean(score):.3f}{around}")
        yield f"| {found.group.name} | {len(found.group.columns)} | {' | '.join(cells)} |"
    yield ""
    yield (
        "Breiman (2001); Fisher, Rudin and Dominici (2019). It says what this model uses, not "
        "what could be learnt. Groups that say the same cover for each other: then all together "
        "are worth much more than the sum, and fewer groups (`--groups`) tell more."
    )
    yield from ("", "![importance](importance.png)")


def _weights_lines(explanation: Explanation, bundle: Bundle) -> Iterator[str]:
    yield from ("", f"## Weights over time ({bundle.config.pooling})", "")
    yield "| video | said | most at (s) | frames that count (exp of the entropy) |"
    yield "|---|---|---:|---:|"
    for look in explanation.looks:
        if look.weights_T is not None:
            frames = f"{look.effective_frames:.1f} of {len(look.weights_T)}"
            said = _said(look, bundle)
            yield f"| {look.example.name} | {said} | {look.peak_seconds:.2f} | {frames} |"


def _said(look: Look, bundle: Bundle) -> str:
    assert look.outputs_C is not None, "weights over time come with outputs of a clip"
    names = output_names(bundle.config)
    if bundle.config.head == "regression":
        truth = [None] * len(names) if look.truth is None else look.truth.tolist()
        return ", ".join(
            f"{name} {value:.3g}" + ("" if true is None else f" (true {true:.3g})")
            for name, value, true in zip(names, look.outputs_C, truth, strict=True)
        )
    best = int(look.outputs_C.argmax())
    return f"{names[best]} ({look.outputs_C[best]:.2f})"


def _gate_lines(explanation: Explanation) -> Iterator[str]:
    yield from ("", "## Gates", "")
    yield (
        f"Over all frames and units. Shut: below {SATURATED[0]:g}; open: above {SATURATED[1]:g} "
        "(Karpathy et al., 2015). The pictures show the mean over units, and the band between "
        f"their quantiles {BAND[0]:g} and {BAND[1]:g}."
    )
    yield ""
    yield "| video | layer | gate | mean | quantiles | shut | open | norm of the state / √H, mean |"
    yield "|---|---:|---|---:|---:|---:|---:|---:|"
    for look in explanation.looks:
        for number, layer in enumerate(look.layers, start=1):
            norm = layer.norm_T.mean()
            for name, gate_TH in layer.gates.items():
                found = gate_summary(gate_TH)
                yield (
                    f"| {look.example.name} | {number} | {name} | {found['mean']:.3f} | "
                    f"{found['low']:.3f}-{found['high']:.3f} | {found['shut_ratio']:.1%} | "
                    f"{found['open_ratio']:.1%} | {norm:.3f} |"
                )


def _json(explanation: Explanation, bundle: Bundle, plan: Plan, origin: str) -> bytes:
    permuting = plan.permuting
    content = {
        "format_version": FORMAT_VERSION,
        "data": origin,
        "bundle": {"path": str(bundle.path), "model_id": bundle.model_id},
        "left_out": explanation.left_out,
        "importance": None
        if explanation.importance is None
        else {
            "group_by": plan.group_by,
            "shuffle": permuting.shuffle,
            "block_frames": permuting.block_frames if permuting.shuffle == "blocks" else None,
            "repeats": permuting.num_repeats,
            "seed": permuting.seed,
            "scores": explanation.importance.scores,
            "together": _group(explanation.importance.together),
            "groups": [_group(found) for found in explanation.importance.groups],
        },
        "videos": [
            _video(look, bundle, number) for number, look in enumerate(explanation.looks, start=1)
        ],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _group(found: GroupImportance) -> dict[str, Any]:
    return {
        "name": found.group.name,
        "columns": found.group.columns,
        "drop": {
            score: {
                "mean": found.mean(score),
                "standard_deviation": found.deviation(score),
                "repeats": drops_R.tolist(),
            }
            for score, drops_R in found.drops.items()
        },
    }


def _video(look: Look, bundle: Bundle, number: int) -> dict[str, Any]:
    names = output_names(bundle.config)
    content: dict[str, Any] = {
        "name": look.example.name,
        "frames": len(look.example),
        "picture": _picture(number),
        "layers": [
            {
                "gates": {name: gate_summary(gate_TH) for name, gate_TH in layer.gates.items()},
                "norm": {"mean": float(layer.norm_T.mean()), "largest": float(layer.norm_T.max())},
            }
            for layer in look.layers
        ],
    }
    if look.weights_T is not None and look.outputs_C is not None:
        content |= {
            "outputs": dict(zip(names, look.outputs_C.tolist(), strict=True)),
            "weights": look.weights_T.tolist(),
            "peak_seconds": look.peak_seconds,
            "effective_frames": look.effective_frames,
        }
    return content


def gate_summary(values_TH: np.ndarray) -> dict[str, float]:
    """Over all frames and units: mean, quantiles of `BAND`, and the parts that are saturated."""
    low, high = np.quantile(values_TH, BAND)
    shut, opened = SATURATED
    return {
        "mean": float(values_TH.mean()),
        "low": float(low),
        "high": float(high),
        "shut_ratio": float((values_TH < shut).mean()),
        "open_ratio": float((values_TH > opened).mean()),
    }
