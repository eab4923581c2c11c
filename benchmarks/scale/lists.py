"""Lists of the seeds' real shape for `scale.py`, from a seed: HD-VILA with 20 to 40 spans a row, ACAV with one span a row."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.ingest import youtube_like

SHAPES = 2000
"""Rows of spans that are made; videos take them in turn, each with its own id in them."""
PLACE = "~~~~~~~~~~~"
"""Stands for the id in a shape."""
STRIDE = 7_368_787
"""A prime, so that its multiples go through all rows."""


def _clock(ms: int) -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _hdvila_shape(random_: random.Random) -> str:
    clips, at = [], random_.randrange(60_000)
    for number in range(random_.randint(20, 40)):
        end = at + random_.randint(2_000, 25_000)
        clips.append(f'{{"clip_id": "{PLACE}.{number}.mp4", "span": ["{_clock(at)}", "{_clock(end)}"]}}')
        at = end + random_.randrange(20_000)
    return (
        f'{{"video_id": "{PLACE}", "url": "https://www.youtube.com/watch?v={PLACE}", "clip": [{", ".join(clips)}]}}\n'
    )


def write_hdvila(path: Path, rows: int, seed: int = 0) -> None:
    """A list as HD-VILA-100M's: about 2,480 bytes and 30 spans a row."""
    random_ = random.Random(seed)
    shapes = [_hdvila_shape(random_) for _ in range(SHAPES)]
    with path.open("w") as file:
        for number in range(rows):
            file.write(shapes[number % SHAPES].replace(PLACE, youtube_like(number + seed * rows)))


def write_acav(path: Path, rows: int, seed: int = 0, numbers: Iterable[int] | None = None) -> None:
    """A list as ACAV100M's: id and one span of ten seconds a row; `numbers` are the rows and their order, if not all of them."""
    random_ = random.Random(seed)
    starts = [random_.randrange(3_600) for _ in range(SHAPES)]
    with path.open("w") as file:
        for number in range(rows) if numbers is None else numbers:
            start = starts[number % SHAPES]
            file.write(f"{youtube_like(number + seed * rows)},{start},{start + 10}\n")


def changed(rows: int) -> Iterator[int]:
    """Rows of a list of which one in a hundred is gone, and as many are new."""
    yield from (number for number in range(rows) if number % 100 != 1)
    yield from range(rows, rows + rows // 100)


def scattered(rows: int) -> Iterator[int]:
    """All rows in an order in which none is near the one it was near."""
    yield from (number * STRIDE % rows for number in range(rows))
