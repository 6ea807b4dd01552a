"""A camera that says as little as RTSP allows, and is joined between two key frames.

Its session description has no parameter sets, so the picture's size is known only when the next
key frame comes. H.264 in single-NAL packets (RFC 6184, 5.6), interleaved with RTSP over TCP
(RFC 2326, 10.12). On demand it sends sender reports (RFC 3550, 6.4.1) with any time.
"""

from __future__ import annotations

import re
import struct
import threading
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, ClassVar

import av

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DESCRIPTION = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track\r\n"
)


class _Session(StreamRequestHandler):
    """One client."""

    frames: ClassVar[list[bytes]] = []
    stopping: ClassVar[threading.Event]
    report: ClassVar[Callable[[int], int | None]]

    def handle(self) -> None:
        """Answer until PLAY; then send frames until they end or the client hangs up."""
        try:
            while request := self._request():
                method, sequence = request
                self._answer(method, sequence)
                if method == "PLAY":
                    self._play()
                    return
        except (BrokenPipeError, ConnectionResetError):
            return

    def _request(self) -> tuple[str, str] | None:
        lines = []
        while (line := self.rfile.readline().decode().strip()) or not lines:
            if not line:
                return None
            lines.append(line)
        fields = dict(line.split(": ", 1) for line in lines[1:])
        return lines[0].split()[0], fields["CSeq"]

    def _answer(self, method: str, sequence: str) -> None:
        head, body = f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nSession: 1\r\n", ""
        if method == "OPTIONS":
            head += "Public: DESCRIBE, SETUP, PLAY\r\n"
        elif method == "SETUP":
            head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        elif method == "DESCRIBE":
            body = DESCRIPTION
            head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        self.wfile.write(f"{head}\r\n{body}".encode())

    def _play(self) -> None:
        number = 0
        for index, frame in enumerate(self.frames):
            ntp = self.report(index)
            if ntp is not None:
                sent = struct.pack(">BBHIQIII", 128, 200, 6, 1, ntp, index * 3600, number, 0)
                self.wfile.write(struct.pack(">cBH", b"$", 1, len(sent)) + sent)
            nals = [nal for nal in re.split(rb"\x00?\x00\x00\x01", frame) if nal]
            for nal in nals:
                last = nal is nals[-1]
                kind = 96 | (128 if last else 0)
                header = struct.pack(">BBHII", 128, kind, number, index * 3600, 1)
                packet = header + nal
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                number += 1
            if self.stopping.wait(0.04):
                return


@contextmanager
def terse_camera(
    clip: Path, *, skip_frames: int = 0, report: Callable[[int], int | None] = lambda _: None
) -> Iterator[str]:
    """Serve an elementary stream from its n-th frame on, at 25 frames a second, to each client.

    Args:
        clip: H.264 without a container.
        skip_frames: n.
        report: The camera's clock when it sends its n-th frame, as a 64-bit NTP timestamp (32.32
            bits, seconds since 1900), to go out in a sender report before it; None: no report.

    Yields:
        Its address.
    """
    with av.open(str(clip)) as container:
        frames = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    stopping = threading.Event()
    own = {"frames": frames[skip_frames:], "stopping": stopping, "report": staticmethod(report)}
    handler = type("Session", (_Session,), own)
    with ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"rtsp://127.0.0.1:{server.server_address[1]}/"
        stopping.set()
        server.shutdown()
        thread.join()
