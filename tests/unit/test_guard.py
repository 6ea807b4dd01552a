"""Which sources may be added over the network, whatever their addresses look like."""

from __future__ import annotations

import socket

import msgspec
import pytest

from streamer.core.errors import ConfigError, SourceError
from streamer.sources.guard import SourcePolicy, check_source, pin
from streamer.sources.spec import SourceSpec

LAN = SourcePolicy(kinds=("rtsp", "http"), networks=("10.0.0.0/8", "192.168.0.0/16", "fc00::/7"))
ALL = SourcePolicy(
    kinds=("rtsp", "http", "hls", "synthetic", "device", "file"), networks=("0.0.0.0/0", "::/0")
)


def spec(url: str) -> SourceSpec:
    return SourceSpec(stream_id="cam", url=url)


def names(**addresses: str):
    """DNS, as one wishes: a name's addresses are separated by commas; others are literal."""

    def resolve(host: str) -> list[str]:
        if host in addresses:
            return addresses[host].split(",")
        return [str(row[4][0]) for row in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]

    return resolve


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://10.1.2.3/live",
        "rtsps://192.168.1.20:8554/live",
        "http://10.1.2.3:8080/video.mjpeg?channel=1",
        "https://[fd12::5]/video",
        "HTTP://10.1.2.3/",
        "rtsp://[::ffff:10.1.2.3]/live",
        "rtsp://0x0a010203/live",
    ],
)
def test_cameras_of_the_local_network_are_taken(url):
    taken = check_source(spec(url), LAN, resolve=names())
    assert taken == msgspec.structs.replace(spec(url), policy=LAN)
    # It stays with the source on its way through Redis.
    assert msgspec.json.decode(msgspec.json.encode(taken), type=SourceSpec).policy == LAN


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",  # 127.0.0.1 as one number
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "0",
        "[::]",
        "169.254.169.254",
        "2852039166",  # 169.254.169.254
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "[ff02::1]",
    ],
)
@pytest.mark.parametrize("policy", [LAN, ALL], ids=["lan", "all"])
def test_loopback_link_local_and_metadata_addresses_are_refused(host, policy):
    with pytest.raises(ConfigError, match="not in a network"):
        check_source(spec(f"http://{host}/latest/meta-data"), policy, resolve=names())
    with pytest.raises(SourceError) as caught:
        pin(f"http://{host}:80/", policy, resolve=names())
    assert (caught.value.reason, caught.value.retryable) == ("forbidden", False)


def test_loopback_is_taken_where_it_is_listed_as_such():
    policy = SourcePolicy(kinds=("http",), networks=("127.0.0.0/8",))
    assert check_source(spec("http://127.0.0.1/x"), policy, resolve=names()).policy == policy
    with pytest.raises(ConfigError):
        check_source(spec("http://[::1]/x"), policy, resolve=names())


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "2001:4860:4860::8888"])
def test_other_networks_are_refused_unless_they_are_listed(address):
    resolve = names(cam=address)
    with pytest.raises(ConfigError, match=r"cam \(.*allow_networks"):
        check_source(spec("rtsp://cam/live"), LAN, resolve=resolve)
    assert check_source(spec("rtsp://cam/live"), ALL, resolve=resolve).policy == ALL


def test_one_bad_address_of_a_name_is_enough():
    for addresses in ("10.0.0.1,169.254.169.254", "169.254.169.254,10.0.0.1", "10.0.0.1,::1"):
        with pytest.raises(ConfigError, match="not in a network"):
            check_source(spec("rtsp://cam/live"), LAN, resolve=names(cam=addresses))


def test_a_name_that_means_something_else_when_it_is_opened_is_refused():
    taken = check_source(spec("rtsp://cam/live"), LAN, resolve=names(cam="10.0.0.1"))
    assert taken.policy is not None
    with pytest.raises(SourceError, match=r"169\.254\.169\.254"):
        pin(taken.url, taken.policy, resolve=names(cam="169.254.169.254"))


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1@169.254.169.254/",
        "http://user:password@10.0.0.1/",
        "http://10.0.0.1:80@169.254.169.254:80/",
        "http://169.254.169.254\\@10.0.0.1/",
        "http://10.0.0.1/ \r\nHost: other",
        "http://10.0.0.1\t/",
        "http://10.0.0.1%00.example/",
        "http://[fe80::1%25eth0]/",
        "http://①⑥⑨.254.169.254/",  # digits to a browser
        "http:///path",
        "http://10.0.0.1:99999/",
        "http://[::1/",
    ],
)
def test_urls_that_parsers_read_differently_are_refused(url):
    with pytest.raises(ConfigError) as caught:
        check_source(spec(url), ALL, resolve=names())
    assert "password" not in str(caught.value).replace("user name or password", "")


@pytest.mark.parametrize(
    "url",
    [
        "clip.mp4",
        "/etc/passwd",
        "/dev/video0",
        "synthetic:workcell",
        "concat:/etc/passwd|x",
        "file:///etc/passwd",
        "gopher://10.0.0.1/",
        "ftp://10.0.0.1/x",
        "tcp://10.0.0.1:22",
    ],
)
def test_only_cameras_unless_more_is_set(url):
    with pytest.raises(ConfigError):
        check_source(spec(url), LAN, resolve=names())


@pytest.mark.parametrize("url", ["clip.mp4", "/dev/video0", "synthetic:workcell"])
def test_more_can_be_set(url):
    assert check_source(spec(url), ALL, resolve=names()).policy == ALL


def test_a_host_without_an_address_is_told():
    def unknown(host: str) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(ConfigError, match="no address"):
        check_source(spec("rtsp://nowhere/x"), LAN, resolve=unknown)
    with pytest.raises(SourceError) as caught:
        pin("rtsp://nowhere/x", LAN, resolve=unknown)
    assert (caught.value.reason, caught.value.retryable) == ("not_found", True)
    with pytest.raises(ConfigError, match="no address"):
        check_source(spec(f"rtsp://{'a' * 70}.example/x"), LAN)


def test_what_is_opened_is_the_address_that_was_checked():
    resolve = names(cam="10.0.0.1,10.0.0.2", six="fd00::7")
    plain = pin("http://cam:8080/a/b?c=d", LAN, resolve=resolve)
    assert plain.url == "http://10.0.0.1:8080/a/b?c=d"
    assert plain.options["headers"] == "Host: cam:8080\r\n"
    assert plain.options["max_redirects"] == "0"
    assert "hls" not in plain.options["format_whitelist"].split(",")
    assert plain.options["protocol_whitelist"] == "http,tcp"
    secure = pin("https://six/x", LAN, resolve=resolve)
    assert secure.url == "https://[fd00::7]/x"
    assert secure.options["headers"] == "Host: six\r\n"
    camera = pin("rtsp://cam/live", LAN, resolve=resolve)
    assert camera.url == "rtsp://10.0.0.1/live"
    assert "http" not in camera.options["protocol_whitelist"]
