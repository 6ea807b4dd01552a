"""URLs that name several servers."""

from __future__ import annotations

import pytest

from streamer.transport.hosts import Hosts


def test_everything_a_url_can_say():
    hosts = Hosts.parse(
        "rediss+sentinel://ann:p%2Cw%40@one:7000,[::1]:7001,two/main?socket_timeout=0.5&ssl_cert_reqs=none",
        default_port=26379,
    )
    assert hosts.addresses == (("one", 7000), ("::1", 7001), ("two", 26379))
    assert (hosts.path, hosts.tls) == ("main", True)
    assert hosts.options == {
        "username": "ann",
        "password": "p,w@",
        "socket_timeout": 0.5,
        "ssl_cert_reqs": "none",
    }


def test_a_plain_one():
    hosts = Hosts.parse("redis+cluster://localhost", default_port=6379)
    assert hosts == Hosts((("localhost", 6379),), path="", tls=False, options={})


@pytest.mark.parametrize(
    "url", ["redis+cluster://one:port", "redis+cluster://one?socket_timeout=x", "other+x://one"]
)
def test_what_is_no_such_url(url):
    with pytest.raises(ValueError, match=r".+"):
        Hosts.parse(url, default_port=6379)
