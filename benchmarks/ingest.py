"""How fast, and in how much memory, a source is indexed: `python -m benchmarks.ingest [--rows 1000000 10000000] [--spans 2]`.

Writes generated lists of the formats hdvila and ids into a temporary folder, indexes each in a process of its own, and once more
against its own result (the usual second run). The baseline is what reading alone costs: the standard library's `json.loads` of
every line (hdvila), or only the lines themselves (ids), in the same run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation_assets.recipes import Recipe

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


@dataclass(frozen=True)
class Cost:
    """What a step took: wall seconds, CPU seconds (user and system), and the process's peak resident memory in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def youtube_like(number: int) -> str:
    """An id of eleven characters; no two numbers below 2^64 share one, and neighbours do not look alike."""
    number = number * 0x9E3779B97F4A7C15 % (1 << 64)
    return "".join(ALPHABET[number >> shift & 63] for shift in range(0, 66, 6))


def generate(path: Path, form: str, rows: int, spans: int) -> None:
    """Writes a list of `rows` videos, each with `spans` spans (hdvila)."""
    with path.open("w") as file:
        for number in range(rows):
            video_id = youtube_like(number)
            if form == "ids":
                file.write(video_id + "\n")
                continue
            clips = ", ".join(
                f'{{"clip_id": "{video_id}.{k}.mp4", "span": ["00:{k % 60:02d}:{number % 50:02d}.{number % 1000:03d}", '
                f'"00:{k % 60:02d}:{number % 50 + 9:02d}.{number % 1000:03d}"]}}'
                for k in range(spans)
            )
            file.write(
                f'{{"video_id": "{video_id}", "url": "https://www.youtube.com/watch?v={video_id}", "clip": [{clips}]}}\n'
            )


def measured(step: Callable[..., None], *arguments: Any) -> Cost:
    """Runs a step in a fresh process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, step, arguments))
    process.start()
    sender.close()
    cost: Cost = receiver.recv()
    process.join()
    return cost


def _child(sender: Any, step: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    wall, cpu = time.perf_counter(), os.times()
    step(*arguments)
    now = os.times()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sender.send(Cost(time.perf_counter() - wall, now.user + now.system - cpu.user - cpu.system, peak))


def read_only(path: str, form: str) -> None:
    """The baseline: every line, parsed by the standard library if it is JSON."""
    with open(path, "rb") as file:
        for line in file:
            if form == "hdvila":
                json.loads(line)


def index(path: str, form: str, previous: str | None, out: str) -> None:
    """Indexes the list."""
    from curation_assets.ingest.indexing import IndexWorkspace, plan_index

    recipe = Recipe.model_validate({"dataset": "bench", "source": {"format": form, "path": path}})
    plan_index(recipe, previous, out, workspace=IndexWorkspace(scratch=str(Path(out).parent)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--formats", nargs="+", choices=["hdvila", "ids"], default=["hdvila", "ids"])
    parser.add_argument("--spans", type=int, default=2, help="spans of a video in the hdvila list")
    parser.add_argument("--folder", help="where the temporary files go")
    options = parser.parse_args()
    print(
        f"{'list':8} {'rows':>11} {'step':12} {'wall s':>8} {'CPU s':>8} {'rows/s':>9} {'peak MB':>8} {'x baseline':>10}"
    )
    for form in options.formats:
        for rows in options.rows:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                source, first, second = (
                    str(Path(folder) / name) for name in ("list.jsonl", "first.parquet", "second.parquet")
                )
                generate(Path(source), form, rows, options.spans)
                baseline = measured(read_only, source, form)
                costs = {
                    "read only": baseline,
                    "index": measured(index, source, form, None, first),
                    "index again": measured(index, source, form, first, second),
                }
                for step, cost in costs.items():
                    print(
                        f"{form:8} {rows:11,} {step:12} {cost.wall_s:8.1f} {cost.cpu_s:8.1f} {rows / cost.wall_s:9,.0f} "
                        f"{cost.peak_mb:8.0f} {cost.cpu_s / baseline.cpu_s:10.1f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
