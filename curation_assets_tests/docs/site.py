"""The site of the documentation as `make docs` builds it, in a folder of its own, and what its pages hold."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href"}
"""Element -> attribute whose address a browser loads by itself."""


def built(folder: Path, pages: Path = ROOT / "docs") -> subprocess.CompletedProcess[str]:
    """Builds the site of these pages strictly into `folder / "site"`."""
    shutil.copytree(pages, folder / "docs", dirs_exist_ok=True)
    shutil.copy(ROOT / "zensical.toml", folder)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"NO_COLOR": "1"}, timeout=240)


def named(entries: list[Any]) -> Iterator[str]:
    """The pages that a navigation names, in its order."""
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from named(value) if isinstance(value, list) else [value]


def navigation() -> list[str]:
    return list(named(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))


@dataclass
class Page(HTMLParser):
    """A built page.

    Attributes:
        loads: addresses that a browser loads to show it.
        links: addresses that it leads to.
        ids: anchors.
        paragraphs: texts of paragraphs, code left out.
    """

    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    paragraphs: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif given.get(LOADED.get(tag, "")) and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given[LOADED[tag]])
        if tag == "p":
            self.paragraphs.append("")
        if tag in ("p", "code"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        if self._open == ["p"]:
            self.paragraphs[-1] += data


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page
