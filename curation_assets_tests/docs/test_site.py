"""The documentation builds, its links lead somewhere, every page has a place, and showing it asks nobody else for anything."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from curation_assets_tests.browser import NoBrowser, browser_page, chromium
from curation_assets_tests.docs.site import ROOT, built, navigation, read

OPEN = """const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (options) { return attach.call(this, {...options, mode: "open"}); };"""
"""The search's box lies in a shadow tree that is closed to tests."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("docs")
    done = built(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_a_link_to_nowhere_fails_the_build(tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text("# Start\n\n[there](index.md#start) [not](index.md#end) [gone](gone.md)\n")
    done = built(tmp_path, pages)
    assert done.returncode != 0
    assert (done.stdout + done.stderr).count("does not exist") >= 2


def test_every_page_has_one_place_in_the_navigation() -> None:
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    named = navigation()
    assert sorted(named) == sorted(pages)


def test_the_first_page_leads_to_every_page() -> None:
    """But to single decisions, which have a page of their own that does."""
    said = (ROOT / "docs/index.md").read_text()
    pages = [p for p in navigation() if p != "index.md" and (not p.startswith("decisions/") or p.endswith("README.md"))]
    assert [p for p in pages if f"]({p})" not in said] == []


def test_what_pages_show_and_lead_to_is_in_the_site(site: Path) -> None:
    pages = {p: read(p) for p in site.rglob("*.html") if p.name != "404.html"}
    assert len(pages) > 25
    missing = []
    for path, page in pages.items():
        for address in page.loads + page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                assert address not in page.loads, f"{path.name} loads {address}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            known = pages.get(target)
            if not target.exists() or (parts.fragment and known and unquote(parts.fragment) not in known.ids):
                missing.append(f"{path.relative_to(site)}: {address}")
    assert missing == []


def test_lists_and_tables_are_not_taken_for_text(site: Path) -> None:
    """The site's Markdown wants an empty line before a list, which others don't."""
    swallowed = {
        str(path.relative_to(site)): text
        for path in site.rglob("*.html")
        for text in read(path).paragraphs
        if re.search(r"(^|\n)\s*([-*] |\d+\. |\|.*\|)", text)
    }
    assert swallowed == {}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"])
def test_links_of_the_first_pages_lead_somewhere(site: Path, name: str) -> None:
    missing = []
    for address in re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', (ROOT / name).read_text()):
        parts = urlsplit("".join(address))
        if parts.scheme:
            continue
        target = ROOT / (parts.path or name)
        inside = target.suffix == ".md" and target.is_relative_to(ROOT / "docs") and target.name != "README.md"
        page = site / target.relative_to(ROOT / "docs").with_suffix(".html") if inside else None
        if not target.exists() or (parts.fragment and page and parts.fragment not in read(page).ids):
            missing.append(parts.geturl())
    assert missing == []


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_reader_finds_a_word_and_no_other_host_is_asked(site: Path) -> None:
    try:
        chromium()
    except NoBrowser as missing:
        pytest.skip(str(missing))
    asked, faults = [], []
    with served(site) as address, browser_page(address) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.add_init_script(OPEN)
        page.goto("/index.html")
        page.get_by_role("link", name="Explanation").first.click()
        page.wait_for_load_state("networkidle")
        page.keyboard.press("/")
        page.get_by_role("combobox").fill("tombstones")
        page.get_by_text(re.compile(r"^\d+ results?$")).wait_for()
        page.keyboard.press("Enter")
        page.wait_for_url("**/how-to/takedown.html*")
        page.wait_for_load_state("networkidle")
        foreign = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert foreign == []
    assert faults == []
    assert len(asked) > 5
