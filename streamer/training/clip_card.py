"""The part of a model card that tells how good a head is on clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.training.clip_scores import meaning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def clip_table(found: Mapping[str, Any]) -> Iterator[str]:
    """The figures of the test part beside those of the commonest answer.

    Args:
        found: `num_clips`, and by name the figures of the model (`clips`) and of the `baseline`.
            A bundle of an older version has none.
    """
    if "clips" not in found:
        return
    yield "## Metrics"
    yield ""
    yield (
        f"On {found['num_clips']} clips that training has not seen, beside the commonest answer of "
        "the training part (of values: their mean):"
    )
    yield ""
    yield "| | model | commonest answer |"
    yield "|---|---:|---:|"
    for name, value in found["clips"].items():
        yield f"| {meaning(name)} | {_number(value)} | {_number(found['baseline'].get(name))} |"
    yield ""


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
