"""Cost of the decode pass by codec and by length: `python -m benchmarks.decode_kinds [--codecs h264,hevc,vp9,av1] [--lengths 10,100] [--lines 360] FILE ...`

Without files, a generated video of boxes that move is used.

codecs
    Each video, encoded in each of the codecs. Of H.264 and H.265 the pass leaves pictures out that no other one needs; of VP9 and AV1 it decodes all.
lengths
    The first video, repeated to so many seconds without being encoded again, each length analysed by a process of its own.

Prints CPU milliseconds a frame of a plain single-threaded PyAV decode and of the pass, their ratio, and the largest resident memory of the process:
that of a process that has loaded everything and analysed two seconds stands in the row before.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from benchmarks.decode import plain, whole_pass
from benchmarks.decode_heights import spent
from benchmarks.tracks import generated

ENCODERS = {
    "h264": ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23"],
    "hevc": ["-c:v", "libx265", "-preset", "veryfast", "-crf", "26", "-x265-params", "log-level=error:pools=1"],
    "vp9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "6", "-crf", "33", "-b:v", "0"],
    "av1": ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-crf", "33", "-b:v", "0"],
}
WARM_S = 2


@dataclass(frozen=True)
class Costs:
    """CPU seconds of one video.

    Attributes:
        frames: number of them.
        plain, whole: of the plain decode and of the pass.
        megabytes: largest resident memory of the process.
    """

    frames: int
    plain: float
    whole: float
    megabytes: float


def measured(path: Path, warm: Path) -> Costs:
    """Decodes a video in both ways, after another by which the network was loaded."""
    whole_pass(warm)
    frames: list[int] = []
    decode = spent(lambda: frames.append(plain(path)))
    whole = spent(lambda: whole_pass(path))
    return Costs(frames[0], decode, whole, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def ffmpeg(*arguments: str) -> None:
    """Runs the ffmpeg of imageio-ffmpeg."""
    import imageio_ffmpeg

    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments], check=True, timeout=7200)


def encoded(path: Path, codec: str, lines: int, made: Path) -> Path:
    """The video in another codec, so many lines high."""
    ffmpeg("-i", str(path), "-map", "0:v:0", "-vf", f"scale=-2:{lines}", *ENCODERS[codec], "-threads", "1", str(made))
    return made


def repeated(path: Path, seconds: int, made: Path) -> Path:
    """The video over and over, packets as they are."""
    ffmpeg("-stream_loop", "-1", "-i", str(path), "-map", "0:v:0", "-c", "copy", "-t", str(seconds), str(made))
    return made


def apart(path: Path, warm: Path) -> Costs:
    """`measured` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.decode_kinds", str(path), "--warm", str(warm)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=7200)
    return Costs(**json.loads(ran.stdout.splitlines()[-1]))


def show(name: str, costs: Sequence[Costs]) -> None:
    """Prints a row."""
    frames = sum(c.frames for c in costs)
    decode, whole = (1000 * sum(getattr(c, n) for c in costs) / frames for n in ("plain", "whole"))
    most = max(c.megabytes for c in costs)
    print(f"{name:>10}{frames:>9}{decode:>9.3f}{whole:>9.3f}{whole / decode:>8.2f}{most:>9.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--codecs", default="", help=f"of {', '.join(ENCODERS)}")
    parser.add_argument("--lengths", default="", help="seconds, comma-separated")
    parser.add_argument("--lines", type=int, default=360)
    parser.add_argument("--warm", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cv2.setNumThreads(1)
    if options.warm is not None:
        print(json.dumps(vars(measured(options.paths[0], options.warm))))
        return
    print(f"{'':>10}{'frames':>9}{'plain':>9}{'pass':>9}{'ratio':>8}{'MB':>9}")
    with tempfile.TemporaryDirectory(prefix="kinds-bench-") as scratch:
        folder = Path(scratch)
        if not options.paths:
            options.paths, options.codecs, options.lengths = [generated(folder)], "h264", "10,40"
        for codec in filter(None, options.codecs.split(",")):
            suffix = "webm" if codec in ("vp9", "av1") else "mp4"
            files = [
                encoded(p, codec, options.lines, folder / f"{codec}-{n}.{suffix}") for n, p in enumerate(options.paths)
            ]
            show(codec, [apart(file, files[0]) for file in files])
        lengths = [int(s) for s in options.lengths.split(",") if s]
        for seconds in [WARM_S, *lengths] if lengths else []:
            piece = repeated(options.paths[0], WARM_S, folder / "piece.mp4")
            show(f"{seconds} s", [apart(repeated(options.paths[0], seconds, folder / "long.mp4"), piece)])


if __name__ == "__main__":
    main()
