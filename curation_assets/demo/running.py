"""What `curation demo` and `curation samples` do: write the sample videos, serve half of them on loopback, and run the graph on both halves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from curation_assets import starter
from curation_assets.demo import FOLDER
from curation_assets.demo.example_lists import write_example
from curation_assets.demo.videos import few_samples, samples, write_torn, write_videos
from curation_assets.demo.web_server import HOST, served
from curation_assets.recipes import parse_recipe
from curation_assets.settings import Settings, SettingsError
from curation_resources import extras
from curation_resources.words import plural

SOURCES = {"demo.yaml": "videos", "demo_web.yaml": "videos.csv"}
"""Recipe -> what it reads in the folder of the samples."""


def generate(root: Path) -> None:
    """Writes the sample videos; what is there already is left alone, so that nothing looks changed."""
    here, there = root / "videos", root / "web"
    local, web = samples()
    write_videos(here, local)
    write_videos(there, web, captions=False)
    page = there / "blocked.mp4"
    if not page.exists():
        page.write_text("<!doctype html><title>Log in</title><p>Log in to watch this video.</p>")
    write_torn(here)


@contextmanager
def listed(folder: Path, listing: Path, captions: Mapping[str, str]) -> Iterator[int]:
    """Serves a folder of videos while the block runs, where the list names them, and gives the port.

    The list is written when there is none, or when the port that it names is in use, once another one is taken; else it stays as it is.

    Args:
        folder: of the videos.
        listing: a CSV file of their ids, addresses and captions.
        captions: name of a video -> its caption.
    """
    with ExitStack() as stack:
        port, known = None, _port_of(listing)
        if known is not None:
            try:
                port = stack.enter_context(served(folder, known))
            except SettingsError:
                print(
                    f"port {known}, which {listing} names, is in use: it is written anew, and its videos are fetched again"
                )
        if port is None:
            port = stack.enter_context(served(folder))
            with open(listing, "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(("id", "url", "caption"))
                writer.writerows((n, f"http://{HOST}:{port}/{n}.mp4", caption) for n, caption in captions.items())
        yield port


def _port_of(listing: Path) -> int | None:
    """The port that a list names; None without a list."""
    if not listing.exists():
        return None
    with open(listing, newline="") as file:
        return next((urlsplit(row["url"]).port for row in csv.DictReader(file)), None)


def declare(recipes: Path, root: Path) -> list[Path]:
    """The recipes of the demo, written into a folder where they are not there yet; says what they go without.

    Args:
        root: folder of the sample videos, which they read.

    Raises:
        SettingsError: one cannot be written, or is there and reads another folder.
        RecipeError: one is there and cannot be used.
    """
    files = []
    for name, source in SOURCES.items():
        file, wanted = recipes / name, str(root / source)
        text = starter.as_installed(starter.text_of(name)).replace(f"{FOLDER}/{source}", _scalar(wanted))
        if starter.write_text(file, text):
            print(f"recipe: {file}")
        elif [Path(p).absolute() for p in parse_recipe(file.read_text("utf-8"), str(file)).source.path] != [
            Path(wanted).absolute()
        ]:
            raise SettingsError(
                f"{file} is there already and does not read {wanted}; correct its source.path, or begin in an empty folder"
            )
        files.append(file)
    for extra in starter.left_out(files[0].read_text("utf-8")):
        print(f"the demo goes without what needs the extra {extra}; for the whole of it: {extras.command(extra)}")
    return files


def _scalar(path: str) -> str:
    """A path as YAML takes it within braces."""
    return path if path.replace("/", "").replace(".", "").replace("_", "").isalnum() else json.dumps(path)


def run_demo(root: Path) -> int:
    """Makes the samples, runs both demo recipes and says what to look at.

    Args:
        root: folder of the videos.

    Returns:
        The exit code.
    """
    files = declare(Path("recipes"), root)
    print(f"sample videos: {root}", flush=True)
    generate(root)
    from curation_assets.runner import run_recipes  # builds the code location, of the recipes that are there by now

    captions = {s.name: s.caption for s in samples()[1]} | {"blocked": "A page, not a video.", "gone": "Nothing there."}
    with listed(root / "web", root / "videos.csv", captions):
        code = run_recipes([Settings.load(recipes=str(file)) for file in files])
    name = starter.program()
    print(
        f"\nSee the clips, and what moving each rule would keep: `{name} look`."
        f"\nSee the graph: `{name} ui`, then http://127.0.0.1:3000, *Catalog*, for example `frames`, *Partitions*, demo-00000: a contact sheet; every"
        "\nasset has histograms, checks and costs. docs/how-to/ui.md is a tour with pictures."
        "\nThe tables are Parquet files below the storage root (./data): data/clips/demo-00000.parquet and so on."
        f"\nWhat was kept and why: `{name} report demo`. Your own videos: `{name} init /folder/of/videos`."
    )
    return code


def run_samples(folder: Path) -> int:
    """Writes the videos of the tutorial into a folder. Returns the exit code."""
    write_videos(folder, few_samples())
    write_torn(folder)
    print(f"{folder}: {', '.join(sorted(p.name for p in folder.glob('*.mp4')))}")
    return 0


def run_example_rows(folder: Path, name: str, port: int) -> int:
    """Writes ten rows for an example recipe into a folder of its name, and says how it is run on them and what to expect. Returns the exit code."""
    own = folder / name
    example = write_example(name, own, f"http://{HOST}:{port}")
    print(f"{own}: ten rows for recipes/examples/{name}.yaml, nine videos and one that is not there")
    if example.of_addresses:
        print(f"In another terminal:\n\n    python -m http.server --bind {HOST} --directory {own} {port}\n")
    print(f"In the repository's folder:\n\n    {example.command(name, own.resolve())}\n")
    selected = f", {example.selected} selected" if example.selected is not None else ""
    print(
        f"Expected: {plural(example.rows, 'row')}, {plural(example.videos, 'video')}, {plural(example.clips, 'clip')}{selected}."
    )
    return 0
