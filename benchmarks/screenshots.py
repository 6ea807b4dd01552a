"""Takes the pictures of the README: `streamer demo`, and Chromium at it."""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}
VIEWS = {
    "page-light": {"viewport": DESKTOP, "color_scheme": "light"},
    "page-dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "page-phone": {"viewport": PHONE, "color_scheme": "light", "device_scale_factor": 2},
}
PAST_SECONDS = 60
SETTLE_SECONDS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "streamer.cli.main", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            address = next(
                found[0]
                for line in demo.stdout
                if (found := re.search(r"http://\S+token=\S+", line))
            )
            take(address, out)
        finally:
            demo.send_signal(signal.SIGINT)


def take(address: str, out: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        waiting = PAST_SECONDS
        for name, options in VIEWS.items():
            context = browser.new_context(**options)
            page = context.new_page()
            page.wait_for_timeout(waiting * 1000)
            waiting = 0
            page.goto(address)
            page.wait_for_timeout(SETTLE_SECONDS * 1000)
            path = out / f"{name}.png"
            page.screenshot(path=path)
            context.close()
            # 256 colours: a third of the size, and no difference to be seen.
            Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
                path, optimize=True
            )
            print(f"{path}: {path.stat().st_size // 1024} KiB")
        browser.close()


if __name__ == "__main__":
    main()
