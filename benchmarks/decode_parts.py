"""Where the time of the decode pass goes: `python -m benchmarks.decode_parts [--lines 330,370] FILE_OR_FOLDER ...`

Prints CPU milliseconds a frame that each part of the pass takes itself, without what it calls of the other parts, over all videos and over those of some heights; and beside them
those of a plain single-threaded PyAV decode and of a decode of the referenced frames, of the same videos in the same run. Each call of a part is timed, which costs some
half microsecond: parts that are called for every frame are dearer by that, and what they call cheaper by nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import av
import cv2

from benchmarks.decode import SUFFIXES, plain, references_only, whole_pass
from benchmarks.decode_heights import spent

OTHER = "Python around them"


class Clock:
    """CPU seconds of each part, without those of the parts that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = [OTHER]
        self._since = time.thread_time()

    def enter(self, part: str) -> None:
        """From now on the time is `part`'s."""
        self._book()
        self._open.append(part)

    def leave(self) -> None:
        """The time is again that of the part before."""
        self._book()
        self._open.pop()

    def _book(self) -> None:
        now = time.thread_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def take(self) -> dict[str, float]:
        """What was booked since the last time."""
        self._book()
        taken, self.seconds = dict(self.seconds), defaultdict(float)
        return taken

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time booked on a part."""

        @wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            self.enter(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        return inner

    def timed_steps(self, part: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The same of a generator."""

        @wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Iterator[Any]:
            steps = function(*args, **kwargs)
            while True:
                self.enter(part)
                try:
                    item = next(steps)
                except StopIteration:
                    return
                finally:
                    self.leave()
                yield item

        return inner


def instrument(clock: Clock) -> None:
    """Times the parts of this process's passes."""
    from curation_assets.decode import analysis
    from curation_assets.decode.measures import freezes, motion
    from curation_assets.decode.measures.fingerprints import Fingerprinter
    from curation_assets.decode.measures.quality import QualityMeter
    from curation_assets.decode.reading.media import OpenVideo
    from curation_assets.decode.reading.picture import BlendedPicture, DecodedPicture
    from curation_assets.decode.reading.sampling import FrameSampler, JpegWriter
    from curation_assets.decode.shots.cascade import CascadeDetector
    from curation_assets.decode.shots.transnet import Network

    def time_methods(part: str, owner: Any, *names: str) -> None:
        for name in names:
            function = vars(owner)[name]
            if isinstance(function, cached_property):
                made = cached_property(clock.timed(part, function.func))
                made.__set_name__(owner, name)
                setattr(owner, name, made)
            else:
                setattr(owner, name, clock.timed(part, function))

    time_methods("opening the file", OpenVideo, "__init__")
    OpenVideo.packets = clock.timed_steps("packets", OpenVideo.packets)  # type: ignore[method-assign]
    decode = OpenVideo.decode
    first, second = (clock.timed(f"{which} decoder", decode) for which in ("first", "second"))
    OpenVideo.decode = (  # type: ignore[method-assign]
        lambda video, packet, context=None: (first if context is None else second)(video, packet, context)
    )
    time_methods("tiny pictures", DecodedPicture, "tiny_rgb")
    time_methods("luma", DecodedPicture, "luma")
    time_methods("chroma", DecodedPicture, "chroma_u", "chroma_v")
    time_methods("blended pictures", BlendedPicture, "tiny_rgb")
    time_methods("shots, without the network", CascadeDetector, "push", "finish")
    time_methods("shot network", Network, "scores")
    time_methods("motion", motion.MotionMeter, "push")
    time_methods("freezes", freezes.FreezeMeter, "push")
    time_methods("quality", QualityMeter, "push")
    time_methods("fingerprints", Fingerprinter, "push")
    time_methods("JPEGs", JpegWriter, "add")
    time_methods("samples sought", FrameSampler, "fetch")
    time_methods("scores of clips", motion.MotionMeter, "scores")
    time_methods("scores of clips", QualityMeter, "scores")
    time_methods("scores of clips", Fingerprinter, "rows")
    analysis.look_again = clock.timed("looked again", analysis.look_again)
    analysis.clip_rows = clock.timed("scores of clips", analysis.clip_rows)
    analysis._frame_rows = clock.timed("scores of clips", analysis._frame_rows)


def measured(path: Path, clock: Clock) -> tuple[int, dict[str, float]]:
    """Frames of a video, and CPU seconds of each part of its pass and of the decodes beside it."""
    frames: list[int] = []
    decodes = {
        "* plain decode": spent(lambda: frames.append(plain(path))),
        "* decode of what is referenced": spent(lambda: references_only(path)),
    }
    clock.take()
    whole_pass(path)
    return frames[0], {**clock.take(), **decodes}


def height_of(path: Path) -> int:
    """Of its pictures, or their width where that is less."""
    with av.open(str(path)) as media:
        context = media.streams.video[0].codec_context
        return min(context.height, context.width)


def show(columns: dict[str, list[tuple[int, dict[str, float]]]]) -> None:
    """Prints milliseconds a frame, a column for each selection of videos."""
    print(f"{'':28}" + "".join(f"{name:>16}" for name in columns))
    sums = {name: _sum(videos) for name, videos in columns.items()}
    parts = sorted(
        {p for seconds in sums.values() for p in seconds}, key=lambda p: -next(iter(sums.values())).get(p, 0)
    )
    for part in parts:
        print(f"{part:28}" + "".join(f"{sums[name].get(part, 0.0):>16.3f}" for name in columns))


def _sum(videos: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
    frames, total = sum(n for n, _ in videos), defaultdict[str, float](float)
    for _, seconds in videos:
        for part, spent_s in seconds.items():
            total[part] += 1000 * spent_s / frames
    total["= the pass"] = sum(v for part, v in total.items() if part[0] not in "*=")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help="videos, or folders of them")
    parser.add_argument(
        "--lines", default="330,370", help="least and greatest height of the videos of the second column"
    )
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cv2.setNumThreads(1)
    least, greatest = (int(h) for h in options.lines.split(","))
    paths = [
        file
        for path in options.paths
        for file in (sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES) if path.is_dir() else [path])
    ]
    whole_pass(paths[0])  # loads the network
    clock = Clock()
    instrument(clock)
    whole_pass(paths[0])
    clock.take()
    everything, some = [], []
    for path in paths:
        row = measured(path, clock)
        everything.append(row)
        if least <= height_of(path) <= greatest:
            some.append(row)
    columns = {f"{len(everything)} videos": everything}
    if some:
        columns[f"{len(some)} of {least} to {greatest}"] = some
    show(columns)


if __name__ == "__main__":
    main()
