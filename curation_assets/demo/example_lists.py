"""Ten sample rows for each example recipe, in the format that its list really has, over videos that are made beside it and served on loopback.

What belongs here: lists and what is expected of them. What does not: how the videos are drawn (`videos.py`), and the recipes, which lie in
`recipes/examples` of the repository.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curation_assets.demo.videos import samples, write_videos
from curation_assets.registry import COMPONENTS

VIDEOS = "videos"
GONE = "gone"
"""The tenth row names a video that is not there, as some of every list of the web do."""
SPAN_S = (0.0, 3.0)
"""Seconds of the span that lists with spans name of each video; the shortest has four."""
WITHOUT_WEIGHTS = ("ingest", "decode", "dedup")
"""Groups of tables that an example which names models of the hub makes where none can be had."""


@dataclass(frozen=True)
class ExampleList:
    """The sample rows of one example recipe.

    Attributes:
        variable: of the environment, by which the recipe finds its list.
        write: writes the list into a folder, for the videos' names and captions and the address of that folder.
        groups: of the tables that can be made anywhere; None for all of the recipe's.
        rows: of the index.
        videos: that can be had.
        clips: that are found, cut at the recipe's boundaries.
        selected: that its subset exports; None where that hangs on weights.
    """

    variable: str
    write: Callable[[Path, Sequence[tuple[str, str]], str], None]
    groups: tuple[str, ...] | None
    rows: int
    videos: int
    clips: int
    selected: int | None

    @property
    def of_addresses(self) -> bool:
        """Whether its list names addresses, so that the folder has to be served."""
        return self.variable != "T2V_VIDEOS"

    def command(self, name: str, folder: Path) -> str:
        """What is said in a shell to run the example on its rows."""
        where = folder if self.of_addresses else folder / VIDEOS
        tables = [c.asset for c in COMPONENTS if self.groups and c.group in self.groups]
        chosen = f" --select {','.join(tables)}" if tables else ""
        return f"{self.variable}={where} curation run recipes/examples/{name}.yaml{chosen}"


def _hdvila(folder: Path, videos: Sequence[tuple[str, str]], address: str) -> None:
    def clock(seconds: float) -> str:
        return f"00:00:{seconds:06.3f}"

    with open(folder / "part0.jsonl", "w", encoding="utf-8") as file:
        for video, _ in videos:
            clip = {"clip_id": f"{video}.0.mp4", "span": [clock(s) for s in SPAN_S]}
            file.write(json.dumps({"video_id": video, "url": f"{address}/{VIDEOS}/{video}.mp4", "clip": [clip]}) + "\n")


def _acav(folder: Path, videos: Sequence[tuple[str, str]], address: str) -> None:
    with open(folder / "acav.csv", "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("videoID", "start", "end", "url", "title"))
        lines.writerows((video, *SPAN_S, f"{address}/{VIDEOS}/{video}.mp4", caption) for video, caption in videos)


def _webvid(folder: Path, videos: Sequence[tuple[str, str]], address: str) -> None:
    with open(folder / "webvid.csv", "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("videoid", "contentUrl", "duration", "page_dir", "name"))
        lines.writerows(
            (video, f"{address}/{VIDEOS}/{video}.mp4", "PT00H00M04S", "", caption) for video, caption in videos
        )


def _folder(folder: Path, videos: Sequence[tuple[str, str]], address: str) -> None:
    (folder / VIDEOS / f"{GONE}.mp4").write_bytes(b"")


EXAMPLES = {
    "hdvila": ExampleList("HDVILA", _hdvila, None, 10, 9, 16, 13),
    "hdvila_videos": ExampleList("HDVILA", _hdvila, None, 10, 9, 9, 9),
    "acav100m": ExampleList("ACAV", _acav, None, 10, 9, 9, 9),
    "t2v_hq": ExampleList("T2V_VIDEOS", _folder, WITHOUT_WEIGHTS, 10, 9, 16, None),
    "trackverse": ExampleList("HDVILA", _hdvila, WITHOUT_WEIGHTS, 10, 9, 9, None),
    "video_embeddings": ExampleList("WEBVID", _webvid, WITHOUT_WEIGHTS, 10, 9, 9, None),
}


def write_example(name: str, folder: Path, address: str) -> ExampleList:
    """Writes the videos and the list of an example into a folder; what is there already of the videos stays.

    Args:
        address: by which the folder is to be had, for lists of addresses.
    """
    example = EXAMPLES[name]
    local, web = samples()
    write_videos(folder / VIDEOS, [*local, *web], captions=False)
    rows = [*((s.name, s.caption) for s in (*local, *web)), (GONE, "A video that is not there.")]
    example.write(folder, rows, address)
    return example
