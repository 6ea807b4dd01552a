"""Every metric family, declared once: its name, type, labels, roles and meaning.

The code registers them from here, and `docs/metrics.md` is written from here.
"""

from streamer.telemetry.families.catalog import CATALOG, of_role
from streamer.telemetry.families.family import Family, Kind, Level, Role

__all__ = ["CATALOG", "Family", "Kind", "Level", "Role", "of_role"]
