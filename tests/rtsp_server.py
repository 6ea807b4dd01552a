"""A real RTSP camera: GStreamer's RTSP server, re-sending encoded clips.

Run by the system's Python, which has `gi`; it imports nothing of this repository.
Each client gets its own pipeline and so sees a clip from its start; after the clip the stream
ends. Prints one JSON object with its port on stdout, then serves until it is killed.

    python3 rtsp_server.py --mount cam1=clip.mp4 --mount cam2=clip.mp4 --user admin:secret
"""

from __future__ import annotations

import argparse
import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, GObject, Gst, GstRtspServer  # noqa: E402

Gst.init(None)  # before a class is derived from one of GStreamer's

LAUNCH = {
    # The encoded clip as it is: no CPU is spent on the camera's side.
    "h264": "( filesrc location={clip} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 )",
    # A camera whose session description names no picture size.
    "mjpeg": "( filesrc location={clip} ! qtdemux ! h264parse ! avdec_h264 ! videoconvert"
    " ! jpegenc ! rtpjpegpay name=pay0 pt=26 )",
}
NTP_EPOCH_SECONDS = 2_208_988_800
"""1970 in NTP's time, which begins in 1900."""


class OwnTimeMedia(GstRtspServer.RTSPMedia):
    """Its sender reports tell the time of the pipeline's clock instead of the host's."""

    def do_setup_rtpbin(self, rtpbin: Gst.Element) -> bool:
        """Called by GStreamer."""
        rtpbin.set_property("ntp-time-source", "clock-time")
        return True


def clock(*, ahead_seconds: float) -> Gst.Clock:
    """The host's time, in NTP's count, and a while ahead."""
    made = GObject.new(Gst.SystemClock, clock_type=Gst.ClockType.REALTIME)
    now = made.get_internal_time()
    ahead = int((NTP_EPOCH_SECONDS + ahead_seconds) * Gst.SECOND)
    made.set_calibration(now, now + ahead, 1, 1)
    return made


def factory(
    clip: str, *, kind: str, user: str, clock_ahead: float | None
) -> GstRtspServer.RTSPMediaFactory:
    """What serves one mount point."""
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(LAUNCH[kind].format(clip=f'"{clip}"'))
    made.set_shared(False)
    if clock_ahead is not None:
        made.set_media_gtype(OwnTimeMedia.__gtype__)
        made.set_clock(clock(ahead_seconds=clock_ahead))
    if user:
        permissions = GstRtspServer.RTSPPermissions()
        for action in ("access", "construct"):
            permissions.add_permission_for_role("user", f"media.factory.{action}", True)
        made.set_permissions(permissions)
    return made


def authentication(user: str, *, method: str) -> GstRtspServer.RTSPAuth:
    """Let in one user, by name and password."""
    name, _, password = user.partition(":")
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if method == "digest":
        auth.set_supported_methods(2)  # GST_RTSP_AUTH_DIGEST
        auth.add_digest(name, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(name, password), token)
    return auth


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mount", action="append", required=True, metavar="NAME=CLIP")
    parser.add_argument("--kind", choices=sorted(LAUNCH), default="h264")
    parser.add_argument("--port", default="0")
    parser.add_argument("--user", default="", metavar="NAME:PASSWORD")
    parser.add_argument("--auth", choices=("basic", "digest"), default="basic")
    parser.add_argument("--clock-ahead", type=float, metavar="SECONDS")
    options = parser.parse_args()
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    if options.user:
        server.set_auth(authentication(options.user, method=options.auth))
    for mount in options.mount:
        name, _, clip = mount.partition("=")
        made = factory(clip, kind=options.kind, user=options.user, clock_ahead=options.clock_ahead)
        server.get_mount_points().add_factory(f"/{name}", made)
    if not server.attach(None):
        sys.exit(f"port {options.port}: can't listen")
    print(json.dumps({"port": server.get_bound_port()}), flush=True)  # noqa: T201
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
