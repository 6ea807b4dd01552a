"""ELAN: an `.eaf` file, the format of https://www.mpi.nl/tools/elan/EAFv3.0.xsd.

Tiers become tracks; times are in milliseconds, in slots that annotations refer to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations.documents import read_xml
from streamer.training.annotations.imported import RowCollector, find_video

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from streamer.training.annotations.imported import Imported, ImportOptions

MILLISECONDS = 1e-3


def import_elan(path: Path, options: ImportOptions) -> Imported:
    """Labels of one file, or of every `.eaf` file in a folder.

    Args:
        path: The file or folder.
        options: `tiers` to take; without any, all that have times of their own.

    Raises:
        ConfigError: It is another file, or a tier is not in it or has no times.
    """
    files = sorted(path.glob("*.eaf")) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"{path}: expected .eaf files, found none")
    collector = RowCollector(path, options)
    for file in files:
        collector.path = file
        _add_document(collector, read_xml(file, "ANNOTATION_DOCUMENT", what="an ELAN file (.eaf)"))
    return collector.finish()


def _add_document(collector: RowCollector, root: Element) -> None:
    path = collector.path
    header = root.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise ConfigError(f"{path}: expected times in milliseconds, found {units!r}")
    video = find_video(_media(path, header), path=path, options=collector.options)
    slots = _slots(path, root)
    for tier in _chosen(collector, root):
        name = tier.get("TIER_ID", "")
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            place = f"tier {name!r}, annotation {annotation.get('ANNOTATION_ID', '?')}"
            start, end = (
                _time(path, place, slots, annotation.get(slot, ""))
                for slot in ("TIME_SLOT_REF1", "TIME_SLOT_REF2")
            )
            label = annotation.findtext("ANNOTATION_VALUE") or ""
            collector.add(
                video,
                label,
                start * MILLISECONDS,
                end * MILLISECONDS,
                place=place,
                track=name,
            )


def _media(path: Path, header: Element | None) -> str:
    """The first video, or what there is."""
    media = [] if header is None else header.findall("MEDIA_DESCRIPTOR")
    media.sort(key=lambda each: not each.get("MIME_TYPE", "").startswith("video"))
    for each in media:
        if each.get("TIME_ORIGIN", "0") != "0":
            raise ConfigError(
                f"{path}: expected a video without an offset (TIME_ORIGIN), found "
                f"{each.get('TIME_ORIGIN')}; cut it, or set the offset to 0 in ELAN"
            )
        name = each.get("MEDIA_URL") or each.get("RELATIVE_MEDIA_URL")
        if name:
            return name
    raise ConfigError(f"{path}: expected a linked video (MEDIA_DESCRIPTOR), found none")


def _slots(path: Path, root: Element) -> dict[str, int | None]:
    slots: dict[str, int | None] = {}
    for slot in root.iterfind("./TIME_ORDER/TIME_SLOT"):
        name, value = slot.get("TIME_SLOT_ID", ""), slot.get("TIME_VALUE")
        if value is not None and not (value.isascii() and value.isdigit() and len(value) < 13):
            raise ConfigError(f"{path}: time slot {name}: expected milliseconds, found {value!r}")
        slots[name] = None if value is None else int(value)
    return slots


def _time(path: Path, place: str, slots: dict[str, int | None], slot: str) -> int:
    value = slots.get(slot)
    if value is None:
        raise ConfigError(
            f"{path}: {place}: expected a time in slot {slot or 'none'!r}, found none; "
            "align it in ELAN, or choose other tiers with --tier"
        )
    return value


def _chosen(collector: RowCollector, root: Element) -> list[Element]:
    tiers = {tier.get("TIER_ID", ""): tier for tier in root.iterfind("TIER")}
    timed = {name: tier for name, tier in tiers.items() if _is_timed(tier)}
    if not collector.options.tiers:
        return list(timed.values())
    for name in collector.options.tiers:
        if name not in tiers:
            raise ConfigError(
                f"{collector.path}: expected a tier {name!r}, found {', '.join(tiers) or 'none'}"
            )
        if name not in timed and tiers[name].find("ANNOTATION") is not None:
            parent = tiers[name].get("PARENT_REF", "")
            raise ConfigError(
                f"{collector.path}: tier {name!r} has no times of its own; "
                f"choose the one it belongs to ({parent!r})"
            )
    return [timed[name] for name in collector.options.tiers if name in timed]


def _is_timed(tier: Element) -> bool:
    return next(tier.iter("ALIGNABLE_ANNOTATION"), None) is not None
