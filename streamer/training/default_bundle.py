"""Makes the bundle that ships again: `python -m streamer.training.default_bundle`.

The same code, packages and processor give the same bytes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.models.bundle import SHIPPED
from streamer.models.encoders.registry import DEFAULT_NAME, open_encoder
from streamer.runtime.clock import SystemClock
from streamer.training.dataset import Progress
from streamer.training.features import FeatureMaker
from streamer.training.recipe import Recipe
from streamer.training.run import Shape, make_config, train_bundle
from streamer.training.synthetic_dataset import synthetic_dataset

if TYPE_CHECKING:
    from streamer.training.fit import Check

SCENE = "workcell"
NUM_SEEDS = 64
MINUTES = 48.0
ANALYSIS_FPS = 10.0


def make_default_bundle(out: Path) -> None:
    """Train it in `out`, then put it in its place in the package."""
    clock, encoder = SystemClock(), open_encoder(DEFAULT_NAME)
    maker = FeatureMaker(
        encoder, analysis_fps=ANALYSIS_FPS, cache=out.parent / "features", clock=clock
    )
    dataset = synthetic_dataset(
        SCENE, num_seeds=NUM_SEEDS, minutes=MINUTES, maker=maker, clock=clock, progress=_say
    )
    config = make_config(dataset, Shape(), name=SCENE, encoder=encoder, analysis_fps=ANALYSIS_FPS)
    bundle = train_bundle(
        out, dataset, config=config, encoder=encoder, recipe=Recipe(), progress=_say
    )
    place = SHIPPED / SCENE
    if place.exists():
        shutil.rmtree(place)
    shutil.copytree(bundle.path, place)
    _say(f"{place}: {bundle.model_id}")


def _say(what: str | Check | Progress) -> None:
    if isinstance(what, Progress) and what.seconds:
        return  # one line per clip
    sys.stderr.write(f"{what}\n")


if __name__ == "__main__":
    make_default_bundle(Path("runs") / "default")
