"""Reads the files of other tools: whatever is in them, what comes out is data or a ConfigError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from xml.etree import ElementTree
from xml.parsers import expat

import msgspec

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
MAX_BYTES = 2**30
"""Of a file of labels; a larger one is something else."""


class _Doctype(Exception):
    """An XML document declares a document type."""


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        ConfigError: It can't be read, or is too large for a file of labels.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(f"{path}: expected a file of labels, found {size / 2**30:.1f} GiB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: can't read it ({reason})") from error


def read_text(path: Path) -> str:
    """The content of a UTF-8 file, with or without a byte order mark.

    Raises:
        ConfigError: It can't be read or is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected text in UTF-8 ({error.reason})") from error


def read_json(path: Path, type: type[T], *, what: str) -> T:
    """A JSON file as a type.

    Args:
        path: The file.
        type: What msgspec is to make of it; fields it does not have are left out.
        what: What the file is to be, for the message.

    Raises:
        ConfigError: It can't be read or is something else.
    """
    data = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: expected {what} ({error})") from error


def read_xml(path: Path, root: str, *, what: str) -> ElementTree.Element[str]:
    """The root of an XML file. A document type is refused, and with it every kind of entity.

    Args:
        path: The file.
        root: Name of its root element.
        what: What the file is to be, for the message.

    Raises:
        ConfigError: It can't be read or is something else.
    """
    data = read_bytes(path)
    try:
        _refuse_doctype(data)
        element = ElementTree.fromstring(data)
    except _Doctype:
        raise ConfigError(
            f"{path}: expected {what} without a document type (<!DOCTYPE …>); remove that line"
        ) from None
    except (ElementTree.ParseError, expat.ExpatError, ValueError, LookupError) as error:
        raise ConfigError(f"{path}: expected {what} ({error})") from error
    if element.tag != root:
        raise ConfigError(f"{path}: expected {what}, found XML of another kind ({element.tag})")
    return element


def _refuse_doctype(data: bytes) -> None:
    def found(*_: Any) -> None:
        raise _Doctype

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = found
    parser.Parse(data, True)
