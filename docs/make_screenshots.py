"""Takes the screenshots of docs/how-to/ui.md and look.md from the web servers over what `make demo` made: `make screenshots`.

Uses the instance, storage and recipes of the environment as they are and changes nothing in them. The contact sheet of the README is
the one beside the table. Absolute paths of the machine are shown as relative ones.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from curation_assets.engine.sheets import sheet_path
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.browser import browser_page, web_server

IMAGES = Path(__file__).parent / "images"
SIZE = (1280, 800)
COLOURS = 256
MOST_BYTES = 200_000
RELATIVE = """root => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) walk.currentNode.nodeValue = walk.currentNode.nodeValue.replaceAll(root, '.');
}"""


def settle(page: Any, pause_ms: int = 2500) -> None:
    """Waits until the page has what it asked for, and its animations are over."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(pause_ms)


def opened(url: str) -> Callable[[Any], None]:
    """A page as it opens."""
    return lambda page: (page.goto(url), settle(page))[0]


def sheet(page: Any) -> None:
    opened("/assets/frames?view=partitions&partition=demo-00000")(page)
    page.get_by_text("[Show Markdown]").first.click()
    settle(page)


def plots(page: Any) -> None:
    opened("/assets/clips")(page)
    page.get_by_role("button", name="Plots").click()
    settle(page)
    page.get_by_role("button", name="Plots").evaluate("e => e.scrollIntoView({block: 'start'})")
    settle(page)


def columns(page: Any) -> None:
    opened("/assets/curated_clips")(page)
    page.get_by_text("From motion_scores.motion.").evaluate("e => e.scrollIntoView({block: 'center'})")
    settle(page)


def dialog(page: Any) -> None:
    opened("/assets/clips?view=partitions&partition=demo-00000")(page)
    page.locator("button", has_text="Materialize").first.click()
    settle(page)


PICTURES: dict[str, Callable[[Any], None]] = {
    "overview": opened("/overview/activity/timeline"),
    "groups": opened("/asset-groups"),
    "ingest": opened("/locations/curation_assets.definitions/asset-groups/ingest"),
    "index": opened("/assets/dataset_index"),
    "dialog": dialog,
    "sheet": sheet,
    "scores": opened("/assets/quality_scores?view=partitions&partition=demo-00000"),
    "plots": plots,
    "checks": opened("/assets/raw_shards?view=checks&checkDetail=yield"),
    "funnel": opened("/assets/curated_clips?view=partitions&partition=demo-hq"),
    "columns": columns,
    "automation": opened("/automation"),
}


def moved(page: Any) -> None:
    """The page of `curation look` with a number of a rule moved."""
    opened("/")(page)
    page.locator('[data-rule="1"] input[type=range]').evaluate(
        "(r) => { r.focus(); r.value = 0.03; r.dispatchEvent(new Event('input')); }"
    )
    settle(page)


def one_clip(page: Any) -> None:
    """A copy's page."""
    opened("/")(page)
    page.locator("#show").select_option("copies")
    settle(page)
    page.locator("#grid figcaption").nth(1).click()
    settle(page)
    page.locator("#clip .screen video").first.evaluate("(v) => { v.pause(); v.currentTime = 1.5; }")
    settle(page)


LOOK: dict[str, Callable[[Any], None]] = {"look": moved, "look_clip": one_clip}


def save(png: bytes, path: Path) -> None:
    """Writes a screenshot with few colours.

    Raises:
        ValueError: it is too large for the repository even so.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, more than {MOST_BYTES}")


def contact_sheet(asset: str, partition: str) -> Image.Image:
    """The picture beside a table."""
    store = table_store(Settings.load())
    return Image.open(io.BytesIO(store.storage.read(sheet_path(store, asset, partition))))


def main(names: list[str]) -> None:
    IMAGES.mkdir(exist_ok=True)
    contact_sheet("frames", "demo_web-00000").save(IMAGES / "contact_sheet.jpg", quality=80)
    here = Path.cwd()
    root = str(Path(Settings.load().storage).absolute().parent)
    asked = names or [*PICTURES, *LOOK]
    environment = {"DAGSTER_HOME": os.environ["DAGSTER_HOME"]}
    for pictures, server in ((PICTURES, lambda: web_server(here, environment)), (LOOK, look_server)):
        if not pictures.keys() & set(asked):
            continue
        with server() as address, browser_page(address, SIZE) as page:
            for name in (n for n in asked if n in pictures):
                pictures[name](page)
                page.evaluate(RELATIVE, root)
                save(page.screenshot(), IMAGES / f"{name}.png")
                print(f"{name}.png")


@contextmanager
def look_server() -> Iterator[str]:
    """`curation look` on a free port, over the storage and recipes of the environment; yields its address."""
    command = [sys.executable, "-m", "curation_assets.cli", "look", "--serve", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1].rstrip("/")
        finally:
            process.terminate()


if __name__ == "__main__":
    main(sys.argv[1:])
