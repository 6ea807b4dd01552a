"""What a user types → sources.

`0`, `/dev/video0`, `rtsp://…#udp`, `https://…`, `clip.mp4#loop,realtime`, `clips/*.mp4`,
`site.streams`, `synthetic:workcell?seed=1`; each with `NAME=` before it, if it is to have a name,
and with `#credentials=env:VARIABLE` or `#credentials=file:PATH`, if it needs any.
"""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

from streamer.core.errors import ConfigError
from streamer.sources.credentials import CREDENTIALS_VARIABLE_PREFIX, redact, split_credentials
from streamer.sources.origin import EXPECTED, Origin, origin_of
from streamer.sources.spec import STREAM_ID, SYNTHETIC, SourceSpec, open_source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, MutableMapping, Sequence

    from streamer.core.clock import Clock

__all__ = ["SourceSpec", "expand_sources", "open_source", "parse_source"]

LIST_SUFFIX = ".streams"

_NAMED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*=\s*(?P<source>.+)")
_OPTIONS: dict[Origin, tuple[str, ...]] = {
    Origin.FILE: ("loop", "realtime"),
    Origin.RTSP: ("tcp", "udp", "credentials"),
    Origin.HTTP: ("credentials",),
    Origin.DEVICE: (),
}


def parse_source(
    text: str, *, vault: MutableMapping[str, str] | None = None, taken: Collection[str] = ()
) -> SourceSpec:
    """One source, which is not a glob or a list.

    Args:
        text: As typed.
        vault: Takes in credentials typed into the URL: environment variable → `USER:PASSWORD`.
        taken: Names that a source without one must not get.

    Raises:
        ConfigError: It can't be read, or it has credentials and there is no vault for them.
    """
    (spec,) = _finish([_split_name(text)], vault=vault, taken=taken)
    return spec


def expand_sources(
    texts: Sequence[str],
    *,
    vault: MutableMapping[str, str] | None = None,
    taken: Collection[str] = (),
) -> list[SourceSpec]:
    """All sources that the texts stand for, each with a stream id of its own.

    A name that was typed is kept. Two equal ones are an error; derived ones are numbered.

    Args:
        texts: As typed. A `.streams` file has one source per line; `#` begins a comment line.
            Paths in it are relative to the working directory.
        vault: As in `parse_source`. `open_source` finds the credentials again if the variables
            are in its process's environment.
        taken: As in `parse_source`.

    Raises:
        ConfigError: One can't be read, a glob matches nothing, or a list does not exist.
    """
    named = [pair for text in texts for pair in _expand(text)]
    if not named:
        raise ConfigError(f"expected at least one source, found none; give {EXPECTED}")
    return _finish(named, vault=vault, taken=taken)


def _split_name(text: str) -> tuple[str | None, str]:
    """`NAME=SOURCE` → both. A file whose name has a `=` in it wins over that reading."""
    text = text.strip()
    if not text:
        raise ConfigError(f"expected a source, found an empty text; give {EXPECTED}")
    match = _NAMED.fullmatch(text)
    if match is None or Path(text.partition("#")[0]).exists():
        return None, text
    if not STREAM_ID.fullmatch(match["name"]):
        raise ConfigError(f"{match['name']}: expected a name of at most 64 characters")
    return match["name"], match["source"]


def _expand(text: str, *, within: tuple[Path, ...] = ()) -> Iterator[tuple[str | None, str]]:
    """The sources of a glob or list; `within` are the lists being read."""
    name, source = _split_name(text)
    path, fragment = _split_fragment(source)
    plain = not path.startswith(SYNTHETIC) and "://" not in path
    if plain and path.endswith(LIST_SUFFIX):
        yield from _read_list(Path(path), within=within)
    elif plain and glob.has_magic(path) and not Path(path).exists():
        yield from _match(path, fragment=fragment, name=name)
    else:
        yield name, source


def _read_list(path: Path, *, within: tuple[Path, ...]) -> Iterator[tuple[str | None, str]]:
    if path.resolve() in within:
        raise ConfigError(f"{path}: expected a list of sources, found one that lists itself")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected a list with one source per line: {error}") from None
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            yield from _expand(line, within=(*within, path.resolve()))


def _match(pattern: str, *, fragment: str, name: str | None) -> Iterator[tuple[str | None, str]]:
    # Not Path.glob: it takes no absolute pattern.
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207
    paths = sorted(path for path in found if Path(path).is_file())
    if not paths:
        raise ConfigError(f"{pattern}: expected files, found none; check the pattern")
    for number, path in enumerate(paths, start=1):
        given = name if name is None or len(paths) == 1 else f"{name}-{number}"
        yield given, f"{path}#{fragment}" if fragment else path


def _finish(
    named: Sequence[tuple[str | None, str]],
    *,
    vault: MutableMapping[str, str] | None,
    taken: Collection[str],
) -> list[SourceSpec]:
    """Check each source and give each an id of its own; typed names go first."""
    typed = [name for name, _ in named if name is not None]
    for name in typed:
        if typed.count(name) > 1:
            raise ConfigError(
                f"{name}: expected each name once, found it {typed.count(name)} times"
            )
    used = {*typed, *taken}
    specs = []
    for given, source in named:
        url, words = _read(source)
        stream_id = given or _derive_name(url, taken=used)
        used.add(stream_id)
        specs.append(_spec(stream_id, url, words, vault=vault))
    return specs


def _read(source: str) -> tuple[str, list[str]]:
    """The URL, and its options after `#`, checked."""
    url, fragment = _split_fragment(source)
    words = [word.strip() for word in re.split("[#,]", fragment) if word.strip()]
    if url.isascii() and url.isdigit():
        url = f"/dev/video{int(url)}"
    scheme, separator, rest = url.partition("://")
    url = f"{scheme.lower()}{separator}{rest}" if separator else url  # FFmpeg knows no RTSP://
    if url.startswith(SYNTHETIC):
        _check_synthetic(url)
        allowed: tuple[str, ...] = ()
    else:
        allowed = _OPTIONS[origin_of(url)]
    if any(word.partition("=")[0] not in allowed for word in words):
        expected = ", ".join(f"#{word}" for word in allowed) or "none"
        raise ConfigError(f"{redact(source)}: unknown option; expected: {expected}")
    if "://" not in url and Path(url).is_dir():
        raise ConfigError(f"{url}: expected a file, found a folder; give {url.rstrip('/')}/*.mp4")
    return url, words


def _spec(
    stream_id: str, url: str, words: list[str], *, vault: MutableMapping[str, str] | None
) -> SourceSpec:
    options: dict[str, str] = {}
    reference = None
    for word in words:
        key, _, value = word.partition("=")
        if key == "credentials":
            reference = value
        elif key in {"tcp", "udp"}:
            options["transport"] = key
        else:
            options[key] = "true"
    if reference is not None and not re.fullmatch(r"(env|file):.+", reference):
        raise ConfigError(f"{stream_id}: credentials: expected env:NAME or file:PATH")
    if "://" in url:
        url, typed = split_credentials(url)
        if typed is not None:
            if vault is None:
                raise ConfigError(
                    f"{redact(url)}: expected credentials apart, found them in the URL; "
                    "give #credentials=env:NAME or #credentials=file:PATH"
                )
            variable = CREDENTIALS_VARIABLE_PREFIX + stream_id.encode().hex().upper()
            vault[variable] = ":".join(typed)
            reference = f"env:{variable}"
    return SourceSpec(stream_id=stream_id, url=url, options=options, credentials=reference)


def _split_fragment(source: str) -> tuple[str, str]:
    """Cut the options off. A file may have a # in its name."""
    if "://" not in source:
        cuts = [match.start() for match in re.finditer("#", source)] + [len(source)]
        for cut in reversed(cuts):
            if Path(source[:cut]).is_file():
                return source[:cut], source[cut + 1 :]
    url, _, fragment = source.partition("#")
    return url, fragment


def _check_synthetic(url: str) -> None:
    """Make it, so that a wrong name is told now and not in a camera's thread."""
    unread = cast("Clock", None)  # it is made, not opened
    open_source(SourceSpec(stream_id="check", url=url), clock=unread)


def _derive_name(url: str, *, taken: set[str]) -> str:
    if url.startswith(SYNTHETIC):
        scene, _, query = url.removeprefix(SYNTHETIC).partition("?")
        seed = re.search(r"(?:^|&)seed=(\w+)", query)
        base = f"{scene}-{seed[1]}" if seed else scene
    elif origin_of(url) in (Origin.RTSP, Origin.HTTP):
        number = 1
        while f"cam{number}" in taken:
            number += 1
        return f"cam{number}"
    else:
        base = Path(url).stem
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", base).strip("-.")[:56] or "source"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name
