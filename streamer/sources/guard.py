"""Where a source that was added over the network may be: a guard against forged requests (SSRF).

Who may add a camera makes this host connect to an address of his choice. So such a source is kept
to kinds and networks, by the addresses that its host name has, when it is added and again whenever
it is opened: a name may mean something else by then (DNS rebinding). What is opened is the address
that was checked, not the name.

References: OWASP, "Server-Side Request Forgery Prevention Cheat Sheet"; the registries of IANA for
special-purpose addresses (RFC 6890).
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

from streamer.core.errors import ConfigError, SourceError
from streamer.sources.credentials import redact
from streamer.sources.origin import Origin, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.core.config import SourceKind
    from streamer.sources.spec import SourceSpec

    IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
    Resolve = Callable[[str], Sequence[str]]

_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network: reaches this host
        "169.254.0.0/16",  # link-local: metadata of most clouds
        "192.0.0.192/32",  # metadata of Oracle's
        "100.100.100.200/32",  # metadata of Alibaba's
        "168.63.129.16/32",  # services of Azure's to its machines
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "::/128",
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, deprecated
        "fd00:ec2::/32",  # metadata of Amazon's
        "fd20:ce::/32",  # metadata of Google's
        "ff00::/8",  # multicast
        # These carry an IPv4 address for somebody on the way: what they reach can't be told here.
        "2001::/32",
        "2002::/16",
        "64:ff9b:1::/48",
    )
)
_LOOPBACK = tuple(ipaddress.ip_network(network) for network in ("127.0.0.0/8", "::1/128"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_SYNTHETIC = "synthetic:"

_PROTOCOLS = {
    "rtsp": "rtp,srtp,tcp,udp",
    "rtsps": "rtp,srtp,tcp,udp,tls",
    "http": "http,tcp",
    "https": "https,http,tls,tcp",
}
_PLAIN_FORMATS = "mpjpeg,mjpeg,jpeg_pipe,mov,matroska,mpegts,flv,avi,h264,hevc"
"""Formats whose files name no further addresses. Not so a playlist (HLS, DASH) or an SDP file."""


class SourcePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What sources added over the network may be. Kept with each of them.

    Attributes:
        kinds: What they may be.
        networks: Where they may be, as CIDRs. Loopback counts only where it is listed as such.
    """

    kinds: tuple[str, ...]
    networks: tuple[str, ...]


class PinnedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """What FFmpeg is to open instead of a URL that was checked.

    Attributes:
        url: With the checked address in place of the name.
        options: Of FFmpeg.
    """

    url: str
    options: dict[str, str]


def check_source(
    spec: SourceSpec, policy: SourcePolicy, *, resolve: Resolve | None = None
) -> SourceSpec:
    """The source with the policy in it, so that whoever opens it checks again. Asks DNS.

    Args:
        spec: A source from the network.
        policy: What it may be.
        resolve: Addresses of a host name; None asks the system.

    Raises:
        ConfigError: It is not allowed, or its host has no address.
    """
    kind = kind_of(spec.url)
    if kind not in policy.kinds and not (kind == "http" and "hls" in policy.kinds):
        raise ConfigError(
            f"source: expected one of {', '.join(policy.kinds) or 'none'}, found {kind}; what may "
            "be added over HTTP is set by gateway.allow_sources"
        )
    if kind in ("rtsp", "http"):
        try:
            _checked_address(_split(spec.url), policy, resolve=resolve or _resolve)
        except OSError as error:
            raise ConfigError(
                f"source: {redact(spec.url)}: its host has no address ({error.strerror})"
            ) from None
    return msgspec.structs.replace(spec, policy=policy)


def pin(url: str, policy: SourcePolicy, *, resolve: Resolve | None = None) -> PinnedAddress:
    """Check a URL of a camera once more, and say how to open just what was checked.

    Args:
        url: `rtsp(s)://` or `http(s)://`, without credentials.
        policy: What it may be.
        resolve: Addresses of a host name; None asks the system.

    Raises:
        SourceError: It is not allowed (any more), or its host has no address now.
    """
    try:
        parts = _split(url)
        address = _checked_address(parts, policy, resolve=resolve or _resolve)
    except ConfigError as error:
        raise SourceError(str(error), retryable=False, reason="forbidden") from None
    except OSError as error:
        raise SourceError(
            f"{redact(url)}: its host has no address ({error.strerror}); check the name and DNS",
            retryable=True,
            reason="not_found",
        ) from None
    scheme = parts.scheme.lower()
    host = f"[{address}]" if address.version == 6 else str(address)
    port = "" if parts.port is None else f":{parts.port}"
    options = {"protocol_whitelist": _PROTOCOLS[scheme]}
    if origin_of(url) is Origin.HTTP:
        # A redirect would lead to an address that nobody checked.
        options |= {"max_redirects": "0", "headers": f"Host: {parts.netloc}\r\n"}
        if "hls" not in policy.kinds:
            options["format_whitelist"] = _PLAIN_FORMATS
    pinned = urlunsplit((scheme, f"{host}{port}", parts.path, parts.query, ""))
    return PinnedAddress(url=pinned, options=options)


def kind_of(url: str) -> SourceKind:
    """What kind of source a URL is, as far as the URL tells: `hls` is `http` here.

    Raises:
        ConfigError: The scheme is not known.
    """
    if url.startswith(_SYNTHETIC):
        return "synthetic"
    match origin_of(url):
        case Origin.RTSP:
            return "rtsp"
        case Origin.HTTP:
            return "http"
        case Origin.DEVICE:
            return "device"
        case Origin.FILE:
            return "file"


def _split(url: str) -> SplitResult:
    """The parts of a URL that every parser reads alike."""
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}'):
        raise ConfigError(
            "source: expected a URL of plain characters, with others as %XX; found one with "
            "spaces, backslashes or control characters"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError(f"{redact(url)}: expected SCHEME://HOST[:PORT]/PATH") from None
    if "@" in parts.netloc:
        raise ConfigError(
            f"{redact(url)}: expected no user name or password in the URL; give credentials as "
            "env:NAME or file:PATH"
        )
    if not parts.hostname or "%" in parts.netloc:
        raise ConfigError(f"{redact(url)}: expected a host after ://, found none")
    return parts


def _checked_address(parts: SplitResult, policy: SourcePolicy, *, resolve: Resolve) -> IpAddress:
    """The first address of the host, if all are allowed."""
    host = parts.hostname or ""
    addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in resolve(host)]
    networks = [ipaddress.ip_network(network) for network in policy.networks]
    for address in addresses:
        if not _is_allowed(address, networks):
            shown = f"{host} ({address})" if str(address) != host else host
            raise ConfigError(
                f"source: {shown} is not in a network that cameras may be added from over HTTP; "
                "see gateway.allow_networks (link-local and metadata addresses never are)"
            )
    return addresses[0]


def _is_allowed(
    address: IpAddress, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> bool:
    inner = _carried(address)
    if inner is not None:
        return _is_allowed(inner, networks)
    if any(address in network for network in _NEVER):
        return False
    listed = [network for network in networks if address in network]
    if any(address in network for network in _LOOPBACK):
        # 0.0.0.0/0 means every network, not this host itself.
        return any(network.is_loopback for network in listed)
    return bool(listed)


def _carried(address: IpAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _resolve(host: str) -> list[str]:
    """As FFmpeg resolves: `2130706433` and `0x7f.1` are addresses to the system too."""
    # Bytes: Python's own reading of international names, which raises other errors, is not needed.
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
