"""The live page in a real Chromium: frame times while scrolling, memory over minutes of events.

16 cameras, 10 events a second each, made up. The frame times are those of the page's own animation
frames; Chromium draws in software here, on the cores that also make the events and serve them. So
an empty page that only scrolls is measured beside it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from tests.wall import TOKEN, made_up_wall

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.wall import Wall

TICK_SECONDS = 0.1
SCROLL_SECONDS = 15.0
SAMPLE_SECONDS = 10.0
FRAMES = """() => { window.frames_ = []; let last = 0;
  const turn = (now) => { if (last) window.frames_.push(now - last); last = now;
    requestAnimationFrame(turn); };
  requestAnimationFrame(turn); }"""
TASKS = """() => { window.tasks_ = []; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.tasks_.push(entry.duration); })
  .observe({ type: "longtask" }); }"""
EMPTY = "data:text/html,<body><div style='height:9000px;background:linear-gradient(red,blue)'>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=5.0, help="of events, for the memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--enable-precise-memory-info", "--js-flags=--expose-gc"],
        )
        empty = browser.new_page(viewport={"width": 1440, "height": 900})
        empty.goto(EMPTY)
        report("empty page, scrolling", scroll(empty))
        empty.close()
        with made_up_wall(Path(folder), num_cameras=arguments.cameras, minutes=15.0) as wall:
            measure(wall, browser, minutes=arguments.minutes)
        browser.close()


def measure(wall: Wall, browser: Any, *, minutes: float) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{wall.url}/?token={TOKEN}")
    page.locator("stream-card").first.wait_for()
    page.reload()
    page.locator("stream-card").nth(len(wall.histories) - 1).wait_for()
    paint = page.evaluate(
        "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
    )
    print(f"first content after {paint:.0f} ms")
    stop = threading.Event()
    rate: list[float] = []
    writer = threading.Thread(target=keep_on, args=(wall, stop, rate))
    writer.start()
    try:
        page.wait_for_timeout(2000)
        page.evaluate(TASKS)
        for span in ("1 min", "15 min"):
            page.get_by_label(span).check()
            page.wait_for_timeout(1000)
            report(f"{len(wall.histories)} cameras, {span}, scrolling", scroll(page))
        tasks = page.evaluate("() => window.tasks_")
        print(f"tasks longer than 50 ms: {len(tasks)}, longest {max(tasks, default=0):.0f} ms")
        page.get_by_label("1 min").check()
        page.evaluate("() => scrollTo(0, 0)")
        watch_memory(page, minutes=minutes)
    finally:
        stop.set()
        writer.join()
    print(f"events: {statistics.mean(rate):.0f} per second")


def keep_on(wall: Wall, stop: threading.Event, rate: list[float]) -> None:
    """10 events a second of each camera."""
    for history in wall.histories.values():
        history.pace = 1
    due = begun = time.monotonic()
    published = 0
    while not stop.is_set():
        for history in wall.histories.values():
            history.step()
        published += wall.publish()
        due += TICK_SECONDS
        stop.wait(max(0.0, due - time.monotonic()))
    rate.append(published / (time.monotonic() - begun))


def scroll(page: Page) -> list[float]:
    """Frame times in milliseconds while the wheel turns."""
    page.mouse.move(400, 450)
    page.evaluate(FRAMES)
    end = time.monotonic() + SCROLL_SECONDS
    down = 120
    while time.monotonic() < end:
        for _ in range(10):
            page.mouse.wheel(0, down)
            page.wait_for_timeout(30)
        down = -down
    frames: list[float] = page.evaluate("() => window.frames_.splice(0)")
    return frames


def report(name: str, frames: list[float]) -> None:
    cuts = statistics.quantiles(frames, n=100)
    late = sum(frame > 25 for frame in frames) / len(frames)
    print(
        f"{name}: {1000 / statistics.mean(frames):.1f} frames/s; frame time p50 {cuts[49]:.1f}, "
        f"p95 {cuts[94]:.1f}, p99 {cuts[98]:.1f} ms; later than 25 ms: {late:.1%}"
    )


def watch_memory(page: Page, *, minutes: float) -> None:
    session = page.context.new_cdp_session(page)
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        page.wait_for_timeout(SAMPLE_SECONDS * 1000)
        session.send("HeapProfiler.collectGarbage")
        used = page.evaluate("() => performance.memory.usedJSHeapSize") / 2**20
        nodes = page.evaluate("() => document.querySelectorAll('*').length")
        seen = page.evaluate("async () => (await import('/web/store.js')).store.numEvents")
        print(f"heap {used:.1f} MiB, {nodes} elements, {seen} events seen", flush=True)


if __name__ == "__main__":
    main()
