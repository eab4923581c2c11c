"""Processes and memory of the decode pass: `python -m benchmarks.decode_pool [--minutes M] [--short N]`.

Three shards of generated videos, each analysed by one worker process and by two, in a process of its own:

- short: N videos of 6 s, 360 lines;
- mixed: one video of M minutes beside N short ones, as a straggler would be;
- tall: one video of M minutes with 1080 lines, for the memory of a worker.

Printed: wall seconds, how much faster two workers are, CPU seconds (user and system, workers included) and the resident memory of the
largest worker. Wall seconds say something on an otherwise idle machine only.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa

from curation_assets.decode.analysis_results import AnalysisParams
from curation_assets.decode.shard import analyse_shard
from curation_assets.schemas import schema
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter, new_token

PIECE_S, FPS = 6, 25
"""Length of a short video, of which the long ones are repetitions."""


def encode(path: Path, size: tuple[int, int], seed: int) -> None:
    """A video of `PIECE_S` seconds: three textures that pan under grain, a cut and then a dissolve between them."""
    rng = np.random.default_rng(seed)
    width, height = size
    cells = [(height // 40, width // 20, 3), (height // 8, width // 4, 3)]
    textures = []
    for _ in range(3):
        parts = [
            cv2.resize(rng.integers(0, 256, c, np.uint8), (2 * width, height), interpolation=cv2.INTER_CUBIC)
            for c in cells
        ]
        textures.append(cv2.addWeighted(parts[0], 0.7, parts[1], 0.3, 0))
    grain = rng.integers(0, 12, (2 * height, 2 * width, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "bf": "3", "g": "250"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(PIECE_S * FPS):
            shift = 3 * (index % 50)
            window = slice(None), slice(shift, shift + width)
            share = min(1.0, max(0.0, (index - 94) / 13))  # of the third texture, over frames 94 to 107
            picture = textures[int(index >= 50)][window]
            if share:
                picture = cv2.addWeighted(picture, 1 - share, textures[2][window], share, 0)
            y, x = rng.integers(0, height), rng.integers(0, width)
            picture = cv2.add(picture, grain[y : y + height, x : x + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        container.mux(stream.encode(None))


def repeat(pieces: list[Path], path: Path, times: int) -> None:
    """Joins the packets of pieces that were encoded alike, one after the other, `times` times."""
    with av.open(str(path), "w") as output:
        stream = None
        shift = 0
        for k in range(times):
            with av.open(str(pieces[k % len(pieces)])) as source:
                given = source.streams.video[0]
                stream = stream or output.add_stream_from_template(given)
                for packet in source.demux(given):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    output.mux(packet)
                shift += round(PIECE_S / given.time_base)


def shards(folder: Path, minutes: float, short: int) -> dict[str, list[Path]]:
    """Generates the videos of each shard."""
    pieces = {}
    for lines, width, count in ((360, 640, min(short, 10)), (1080, 1920, 3)):
        pieces[lines] = [folder / f"piece_{lines}_{k}.mp4" for k in range(count)]
        for k, path in enumerate(pieces[lines]):
            encode(path, (width, lines), k)
    times = max(1, round(minutes * 60 / PIECE_S))
    long, tall = folder / "long.mp4", folder / "tall.mp4"
    repeat(pieces[360], long, times)
    repeat(pieces[1080], tall, times)
    few = [pieces[360][k % len(pieces[360])] for k in range(short)]
    return {"short": few, "mixed": [long, *few], "tall": [tall]}


def analyse(files: list[Path], workers: int) -> dict[str, float]:
    """One pass over a shard in this process and its workers."""
    names = [f"video{k:04d}" for k in range(len(files))]
    raw = [
        {
            "dataset": "d",
            "video_id": n,
            "status": "ok",
            "tar": str(f),
            "size": f.stat().st_size,
            "duration_ms": length(f),
        }
        for n, f in zip(names, files, strict=True)
    ]
    known = [{"dataset": "d", "video_id": n, "status": "ok", "source": "s", "line": 1} for n in names]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        storage = Storage(root)
        with TarWriter(storage, "frames/d-00000", new_token()) as writer:
            done = analyse_shard(
                pa.Table.from_pylist(raw, schema=schema("raw_shards").arrow),
                pa.Table.from_pylist(known, schema=schema("video_metadata").arrow),
                AnalysisParams(),
                storage,
                writer,
                workers=workers,
            )
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "wall_s": time.perf_counter() - started,
        "cpu_s": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
        "worker_mb": children.ru_maxrss / 1024,
        "clips": done.tables["clips"].num_rows,
        "errors": len(done.errors),
    }


def length(path: Path) -> int:
    """Milliseconds of a video, as its container says."""
    with av.open(str(path)) as container:
        return round((container.duration or 0) / 1000)


def measure(files: list[Path], workers: int) -> dict[str, float]:
    """`analyse` in a new process, so that memory and seconds are its own."""
    call = [sys.executable, "-m", "benchmarks.decode_pool", "--analyse", str(workers), *map(str, files)]
    result = subprocess.run(call, capture_output=True, text=True, check=True, timeout=3600)
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1, help="length of the long videos")
    parser.add_argument("--short", type=int, default=20, help="short videos in a shard")
    parser.add_argument("--analyse", type=int, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.analyse is not None:
        print(json.dumps(analyse(arguments.files, arguments.analyse)))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"{'shard':8} {'workers':>7} {'wall s':>8} {'faster':>7} {'CPU s':>8} {'worker MB':>10} {'clips':>6} {'errors':>7}"
        )
        for name, files in shards(Path(folder), arguments.minutes, arguments.short).items():
            base = 0.0
            for workers in (1, 2):
                m = measure(files, workers)
                base = base or m["wall_s"]
                print(
                    f"{name:8} {workers:7} {m['wall_s']:8.1f} {base / m['wall_s']:6.2f}x {m['cpu_s']:8.1f} "
                    f"{m['worker_mb']:10.0f} {m['clips']:6.0f} {m['errors']:7.0f}"
                )


if __name__ == "__main__":
    main()
