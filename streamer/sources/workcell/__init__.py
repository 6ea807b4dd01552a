"""A rendered work cell: a robot arm at a bench, seen by a fixed camera. Synthetic, with truth.

`block` and `script` say what happens when, `layout` how a seed looks, `motion` where things are,
`canvas` draws shapes, `backdrop` and `props` the things, and `Workcell` puts it all together into
pictures.
"""

from __future__ import annotations

from streamer.sources.workcell.block import ACTIONS, PHASES
from streamer.sources.workcell.picture import Workcell
from streamer.sources.workcell.script import Truth, WorkcellScript

__all__ = ["ACTIONS", "PHASES", "Truth", "Workcell", "WorkcellScript"]
