"""Cost of the decode pass by the height of pictures: `python -m benchmarks.decode_heights [--lines 240,360,720] [--before CHECKOUT] FILE_OR_FOLDER ...`

Most of what the pass does beside decoding costs the same for every frame, whatever its size, so its ratio to a plain decode is another at each height.
Prints, for the videos of each height, CPU milliseconds a frame of a plain single-threaded PyAV decode, of a decode of the referenced frames alone (the lower bound of what the pass decodes),
of the pass, and of the shot network in it; the pass as a ratio to the plain decode, over all videos of the height and the median of them. Each video's decodes and its pass follow each
other at once.

With `--before` the pass of another checkout of this project, in a process of its own, follows at once, and is told in two more columns. After a change of what is compiled,
run it twice: the first time counts the compiling.

With `--lines` each video is first encoded at these heights (libx264, veryfast, CRF 23), as sites offer videos in several sizes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2

from benchmarks.decode import SUFFIXES, cpu_seconds, plain, references_only, whole_pass


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one video.

    Attributes:
        height: of its pictures, or their width where that is less.
        frames: number of them.
        plain, referenced, whole, network: of the decodes, the pass, and the network in it.
        before: of the pass of another checkout; 0 if none was asked for.
    """

    height: int
    frames: int
    plain: float
    referenced: float
    whole: float
    network: float
    before: float = 0.0

    @property
    def ratio(self) -> float:
        """The pass over the plain decode."""
        return self.whole / self.plain


def spent(work: Callable[[], object]) -> float:
    """CPU seconds."""
    before = cpu_seconds()
    work()
    return cpu_seconds() - before


OTHER = """
import sys
from pathlib import Path
import cv2
from benchmarks.decode import cpu_seconds, whole_pass
cv2.setNumThreads(1)
for line in sys.stdin:
    started = cpu_seconds()
    whole_pass(Path(line.rstrip()))
    print(cpu_seconds() - started, flush=True)
"""


class OtherCheckout:
    """Passes by another checkout's code, in a process that lasts."""

    def __init__(self, folder: Path) -> None:
        root = str(folder.resolve())
        environment = {**os.environ, "PYTHONPATH": root}
        command = [sys.executable, "-c", OTHER]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, env=environment
        )

    def whole(self, path: Path) -> float:
        """CPU seconds of its pass over a video."""
        ask, answer = self._process.stdin, self._process.stdout
        assert ask is not None
        assert answer is not None
        ask.write(f"{path.resolve()}\n")
        ask.flush()
        return float(answer.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def measured(path: Path, other: OtherCheckout | None = None) -> Cost:
    """Decodes a video in each way."""
    from curation_assets.decode.shots.transnet_whole import network

    with av.open(str(path)) as media:
        context = media.streams.video[0].codec_context
        height = min(context.height, context.width)
    frames: list[int] = []
    decode = spent(lambda: frames.append(plain(path)))
    referenced = spent(lambda: references_only(path))
    before = network().seconds
    whole = spent(lambda: whole_pass(path))
    asked = network().seconds - before
    return Cost(height, frames[0], decode, referenced, whole, asked, other.whole(path) if other else 0.0)


def scaled(paths: Iterable[Path], lines: Sequence[int], folder: Path) -> list[Path]:
    """The videos at other heights."""
    import imageio_ffmpeg

    made = []
    for number, path in enumerate(paths):
        for height in lines:
            made.append(folder / f"{height}-{number}.mp4")
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:v:0"]
            encoder = [
                "-vf",
                f"scale=-2:{height}",
                "-c:v",
                "libx264",
                "-preset",
                "veryfast",
                "-crf",
                "23",
                "-threads",
                "1",
            ]
            subprocess.run([*command, *encoder, str(made[-1])], check=True, timeout=3600)
    return made


def show(costs: Sequence[Cost]) -> None:
    """Prints a row for each height, and one for all."""
    compared = any(c.before for c in costs)
    print(
        f"{'lines':>8}{'videos':>8}{'frames':>8}{'plain':>9}{'referenced':>12}{'pass':>8}{'network':>9}{'ratio':>8}{'median':>8}"
        + (f"{'before':>9}{'ratio':>8}" if compared else "")
    )
    heights = sorted({c.height for c in costs})
    for name, rows in [*((str(h), [c for c in costs if c.height == h]) for h in heights), ("all", costs)]:
        frames = sum(c.frames for c in rows)
        plain_s, *others = (sum(getattr(c, n) for c in rows) for n in ("plain", "referenced", "whole", "network"))
        a, b, c, d = (f"{1000 * s / frames:.3f}" for s in (plain_s, *others))
        ratio, median = others[1] / plain_s, statistics.median(c.ratio for c in rows)
        before = sum(c.before for c in rows)
        told = f"{1000 * before / frames:>9.3f}{before / plain_s:>8.2f}" if compared else ""
        print(f"{name:>8}{len(rows):>8}{frames:>8}{a:>9}{b:>12}{c:>8}{d:>9}{ratio:>8.2f}{median:>8.2f}{told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help="videos, or folders of them")
    parser.add_argument("--lines", help="heights at which each video is encoded first, comma-separated")
    parser.add_argument("--before", type=Path, help="a checkout of this project")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cv2.setNumThreads(1)
    paths = [
        file
        for path in options.paths
        for file in (sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES) if path.is_dir() else [path])
    ]
    with tempfile.TemporaryDirectory(prefix="heights-bench-") as scratch:
        if options.lines:
            paths = scaled(paths, [int(h) for h in options.lines.split(",")], Path(scratch))
        other = OtherCheckout(options.before) if options.before else None
        whole_pass(paths[0])  # loads the network
        if other is not None:
            other.whole(paths[0])
        show([measured(path, other) for path in paths])
        if other is not None:
            other.end()


if __name__ == "__main__":
    main()
