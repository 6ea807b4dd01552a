"""Snapshots and previews: real workers, a real Valkey, JPEGs read back by FFmpeg."""

from __future__ import annotations

import contextlib
import io
import threading
from itertools import islice, pairwise

import av
import httpx
import numpy as np
import pytest

from streamer.core.event import SNAPSHOT_TYPES
from streamer.sources.recording import record
from streamer.sources.workcell import Workcell
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.pictures import Picture, PictureStore
from tests.gateways import HEADERS, serving_events
from tests.workers import Farm, samples

WIDE = "synthetic:workcell?fps=10&width=480&height=270&seed=3"


@pytest.fixture
def farm(valkey, tmp_path):
    with contextlib.closing(Farm(valkey.url, tmp_path)) as made:
        yield made


@pytest.fixture
def api(farm):
    serving = serving_events(farm.url)
    with serving as url, httpx.Client(base_url=url, timeout=20, headers=HEADERS) as client:
        yield client


@pytest.fixture
def client(valkey):
    with contextlib.closing(connect(valkey.url)) as client:
        yield client


@pytest.fixture
def store(client):
    return PictureStore(client, keys=Keys())


def pixels(jpeg):
    with av.open(io.BytesIO(jpeg), format="mjpeg") as container:
        (frame,) = container.decode(video=0)
    return frame.to_ndarray(format="rgb24")


def snapshots_of(farm):
    return [e.data.links["snapshot"] for e in farm.events() if e.type in SNAPSHOT_TYPES]


def test_every_deciding_frame_of_a_file_is_kept_as_it_was(farm, api, tmp_path):
    """The picture is that frame's and no other's, in the shape it was taken in."""
    clip = tmp_path / "clip.mp4"
    record(clip, seconds=12, seed=3, fps=10, width=480, height=270)
    farm.want(f"cam={clip}#realtime")
    ingest, *_ = farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: "cam" in farm.registry.finished(), seconds=60)
    links = snapshots_of(farm)
    assert len(links) >= 4
    truth = Workcell(3, width=480, height=270)
    for link in set(links):
        answer = api.get(link)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), link
        epoch, seq = answer.headers["x-streamer-epoch"], answer.headers["x-streamer-seq"]
        assert link == f"/v1/streams/cam/snapshots/{epoch}-{seq}.jpg"
        shown = pixels(answer.content)
        assert shown.shape == (224, 398, 3)
        near = {s: _difference(shown, truth.render(s / 10)) for s in _around(int(seq))}
        assert near[int(seq)] < 12
        assert near[int(seq)] == min(near.values())
    assert samples(ingest)[("streamer_snapshots_total", "kept")] == len(links)
    assert samples(ingest)[("streamer_snapshots_total", "missed")] == 0


def _around(seq):
    return [s for s in (seq - 8, seq, seq + 8) if s >= 0]


def _difference(shown, rendered):
    """Mean absolute difference, over a grid of points."""
    return np.abs(_grid(shown).astype(int) - _grid(rendered).astype(int)).mean()


def _grid(image):
    rows, columns = (np.linspace(0, n - 1, 50).astype(int) for n in image.shape[:2])
    return image[np.ix_(rows, columns)]


def test_previews_are_made_while_somebody_watches_and_only_then(farm, api):
    farm.want(f"cam={WIDE}")
    farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: len(farm.events()) > 2)
    assert farm.client.exists(farm.keys.preview("cam")) == 0
    answer = api.get("/v1/streams/cam/preview.jpg")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    shown = pixels(answer.content)
    assert shown.shape == (270, 480, 3)
    frame = int(answer.headers["x-streamer-seq"])
    assert _difference(shown, Workcell(3, width=480, height=270).render(frame / 10)) < 12
    farm.wait_for(lambda: not farm.client.exists(farm.keys.watched("cam")))
    farm.wait_for(lambda: not farm.client.exists(farm.keys.preview("cam")))
    farm.wait_for(_silence(farm, looks=10))  # and none comes after
    assert not farm.client.exists(farm.keys.preview("cam"))


def _silence(farm, *, looks):
    """True after so many further entries of the input log, a tenth of a second each."""
    end = int(farm.client.hget(farm.keys.source("cam"), "last_us")) + looks * 100_000
    return lambda: int(farm.client.hget(farm.keys.source("cam"), "last_us")) > end


@pytest.mark.parametrize("kind", ["synthetic", "file"])
def test_many_viewers_share_one_source_and_each_is_let_go(farm, api, tmp_path, kind):
    if kind == "file":
        clip = tmp_path / "clip.mp4"
        record(clip, seconds=4, seed=3, fps=10, width=480, height=270)
        farm.want(f"cam={clip}#loop,realtime")
    else:
        farm.want(f"cam={WIDE}")
    farm.start("ingest", "encoder", "temporal")
    seen, ready = [], threading.Barrier(6)

    def view(number):
        url = f"{api.base_url}/v1/streams/cam/preview.mjpeg?fps=5"
        with httpx.stream("GET", url, timeout=20, headers=HEADERS) as response:
            assert response.headers["content-type"].startswith("multipart/x-mixed-replace")
            ready.wait(20)
            parts = response.iter_bytes()
            seen.append(list(islice(_pictures(parts), 4)))

    threads = [threading.Thread(target=view, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(pictures) for pictures in seen] == [4] * 6
    for pictures in seen:
        assert all(a < b for a, b in pairwise(pictures))
    # When the last has gone, nobody asks any more.
    farm.wait_for(lambda: not farm.client.exists(farm.keys.watched("cam")))


def _pictures(chunks):
    """Epoch and seq of each part, once it is whole."""
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while b"\r\n\r\n" in buffer:
            head, _, rest = buffer.partition(b"\r\n\r\n")
            told = dict(line.split(b": ", 1) for line in head.splitlines() if b": " in line)
            size = int(told[b"Content-Length"])
            if len(rest) < size:
                break
            assert pixels(rest[:size]).shape == (270, 480, 3)
            yield int(told[b"X-Streamer-Epoch"]), int(told[b"X-Streamer-Seq"])
            buffer = rest[size:]


def test_a_removed_stream_has_no_pictures(farm, api):
    farm.want(f"cam={WIDE}")
    farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: farm.client.xlen(farm.keys.snapshots("cam")) > 1)
    link = snapshots_of(farm)[0]
    assert api.get(link).status_code == 200
    with api.stream("GET", "/v1/streams/cam/preview.mjpeg") as response:
        parts = response.iter_bytes()
        next(_pictures(parts))
        api.delete("/v1/streams/cam")
        for _ in parts:  # the view ends
            pass
    assert api.get(link).status_code == 404
    farm.wait_for(lambda: not farm.client.exists(farm.keys.snapshots("cam")))
    for name in ("preview.jpg", "preview.mjpeg", "snapshots/1-1.jpg"):
        assert api.get(f"/v1/streams/cam/{name}").status_code == 404


def test_switched_off_there_are_none_and_previews_still(farm, api):
    farm.want(f"cam={WIDE}")
    farm.start("ingest", "encoder", "temporal", ingest__snapshots=0)
    farm.wait_for(lambda: len(snapshots_of(farm)) > 1)
    assert api.get("/v1/streams/cam/preview.jpg").status_code == 200
    assert not farm.client.exists(farm.keys.snapshots("cam"))
    assert api.get(snapshots_of(farm)[0]).status_code == 404


def test_without_redis_only_pictures_are_missing_and_they_come_back(farm, valkey, api):
    farm.want(f"cam={WIDE}")
    farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: farm.client.xlen(farm.keys.snapshots("cam")) > 0)
    valkey.kill()
    valkey.start()
    farm.client.connection_pool.disconnect()
    farm.want(f"cam={WIDE}")
    farm.wait_for(lambda: farm.client.xlen(farm.keys.snapshots("cam")) > 0, seconds=60)
    newest = farm.client.xrevrange(farm.keys.snapshots("cam"), count=1)[0][0].decode()
    # A connection that broke meanwhile is told once, as 503.
    farm.wait_for(lambda: api.get(f"/v1/streams/cam/snapshots/{newest}.jpg").status_code == 200)


def test_a_key_that_is_not_ours_costs_that_stream_its_pictures_and_nothing_else(farm):
    farm.client.set(farm.keys.snapshots("odd"), "not ours")
    farm.want(f"cam={WIDE}", f"odd={WIDE}")
    farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: sum("/odd/" in link for link in snapshots_of(farm)) > 1)
    farm.wait_for(lambda: farm.client.xlen(farm.keys.snapshots("cam")) > 1)
    assert farm.client.get(farm.keys.snapshots("odd")) == b"not ours"


def test_a_paused_stream_has_no_preview(farm, api):
    farm.want(f"cam={WIDE}")
    farm.registry.update("cam", paused=True)
    answer = api.get("/v1/streams/cam/preview.jpg")
    assert (answer.status_code, "no pictures now" in answer.json()["detail"]) == (404, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("snapshots/1-7.jpg", 404),
        ("snapshots/x-7.jpg", 422),
        ("snapshots/1--7.jpg", 422),
        (f"snapshots/1-{2**64}.jpg", 422),
        ("preview.mjpeg?fps=100", 422),
    ],
)
def test_what_is_not_there_is_a_problem(farm, api, path, status):
    farm.registry.put("cam", b"{}")
    answer = api.get(f"/v1/streams/cam/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )


def test_pictures_are_bounded_by_count_and_age(store, client):
    def keep(epoch, seq, *, seconds=60.0):
        picture = Picture(epoch, seq, 5, b"jpeg")
        return store.keep("cam", picture, max_pictures=3, max_seconds=seconds)

    assert [keep(1, seq) for seq in (1, 2, 2, 5, 4)] == [True, True, False, True, False]
    assert keep(2, 0)
    kept = [store.snapshot("cam", epoch=e, seq=s) for e, s in ((1, 1), (1, 2), (1, 5), (2, 0))]
    assert [picture and (picture.epoch, picture.seq) for picture in kept] == [
        None,
        (1, 2),
        (1, 5),
        (2, 0),
    ]
    kept_ms = int(client.xrange(Keys().snapshots("cam"))[-1][1][b"kept_ms"])
    while (now := client.time())[0] * 1000 + now[1] // 1000 < kept_ms + 1005:
        pass
    assert keep(2, 1, seconds=1.0)
    assert client.xlen(Keys().snapshots("cam")) == 1
    assert client.pttl(Keys().snapshots("cam")) <= 1000
    assert keep(3, 0)
    store.forget("cam")
    assert store.snapshot("cam", epoch=3, seq=0) is None


def test_snapshots_are_asked_for_again_only_when_they_changed(farm, api):
    farm.registry.put("cam", b"{}")
    store = PictureStore(farm.client, keys=farm.keys)
    store.keep("cam", Picture(1, 7, 5, b"jpeg"), max_pictures=3, max_seconds=60)
    first = api.get("/v1/streams/cam/snapshots/1-7.jpg")
    assert (first.content, first.headers["cache-control"]) == (b"jpeg", "private, no-cache")
    tag = {"If-None-Match": first.headers["etag"]}
    again = api.get("/v1/streams/cam/snapshots/1-7.jpg", headers=tag)
    assert (again.status_code, again.content) == (304, b"")
