"""The site as it is built: strictly, whole, and without anything from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from tests.pages import DOCS, ROOT

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "srcset", "video": "src"}
"""What a browser fetches by itself."""


class Reader(HTMLParser):
    """Links, ids, and what is loaded, of one page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(found["href"])
        if found.get(LOADING.get(tag, "")):
            self.loads.append(found[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built in a folder of its own, from the real pages."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    program = Path(sys.executable).with_name("zensical")
    done = subprocess.run(
        [program, "build", "--strict", "--clean"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
    return folder / "build" / "site"


@pytest.fixture(scope="module")
def read(site):
    return {path: Reader(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_is_in_the_navigation():
    def named(nav):
        for entry in nav:
            value = next(iter(entry.values())) if isinstance(entry, dict) else entry
            yield from named(value) if isinstance(value, list) else [value]

    nav = list(named(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(nav) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_every_page_is_built(site, read):
    def built_from(path):
        page = path.relative_to(site).with_suffix(".md")
        readme = page.with_name("README.md")
        return readme if page.name == "index.md" and (DOCS / readme).exists() else page

    built = {built_from(path) for path in read if path.name != "404.html"}
    assert built == {path.relative_to(DOCS) for path in DOCS.rglob("*.md")}


def test_nothing_is_loaded_from_elsewhere(site, read):
    for path, page in read.items():
        foreign = [url for url in page.loads if urlsplit(url).scheme or url.startswith("//")]
        assert not foreign, (path.name, foreign)
    for sheet in site.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import )['\"]?(https?:)?//", sheet.read_text())
        assert not found, sheet.name


def test_links_lead_somewhere(site, read):
    """Within the site: a file of the repository is named as code, it is not on the site."""
    wrong = []
    for path, page in read.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            known = not parts.fragment or target not in read or parts.fragment in read[target].ids
            if not target.exists() or not known:
                wrong.append((path.name, link))
    assert not wrong


@pytest.fixture
def address(site):
    """The site on a server, as `make docs-serve` gives it."""
    handler = partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


def test_a_browser_reads_and_searches_it(address):
    from playwright.sync_api import sync_playwright

    asked, errors = [], []
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        assert path is not None, "chromium is missing; install it (Debian: chromium)"
        browser = playwright.chromium.launch(executable_path=path)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}architecture.html")
        pictures = page.evaluate("() => [...document.images].map((one) => one.naturalWidth)")
        page.keyboard.press("/")
        page.keyboard.type("replay_seconds")
        page.locator("a[href*='settings.html']:visible", has_text="Settings").last.wait_for()
        wide = []
        for name in ("index", "settings", "cli", "comparison"):
            page.goto(f"{address}{name}.html")
            width = "(([a]) => a.scrollWidth - a.clientWidth)([document.documentElement])"
            wide += [name] * (page.evaluate(width) > 0)
        browser.close()
    assert pictures
    assert all(pictures)
    assert not wide
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not errors


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_everybody(address, scheme):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_context(color_scheme=scheme).new_page()
        page.goto(f"{address}start.html")
        violations = Axe().run(page).response["violations"]
        browser.close()
    # The moderate ones are of the theme: its landmarks share names.
    assert not [v["id"] for v in violations if v["impact"] in ("serious", "critical")]


def test_the_readme_links_to_what_is_there():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"", text)
    for link in (one or other for one, other in links):
        assert urlsplit(link).scheme or (ROOT / link).exists(), link
