"""Overhead of captioning a shard through an OpenAI-compatible server.

    python -m benchmarks.captions [--clips 1000] [--concurrency 32] [--latency 1.0] [--frames 8] [--kilobytes 50]

A loopback server in a process of its own answers each request after a known latency, so the least possible time is
clips x latency / concurrency. Reported against it, in the same run: a bare asyncio client that sends one ready-made request over and
over (the cost of the loopback and the machine), and the whole stage (frames read from tars and checked, requests built, answers
cleaned, journalled and turned into the table) with the files on disk. Wall seconds, CPU seconds of the client's process, and the
overhead over the least time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from curation_assets.captions.caption_backends import load_captioner
from curation_assets.captions.captioning import CaptionInputs, caption_shard
from curation_assets.captions.captions import Captions
from curation_assets.schemas import schema
from curation_resources.journal import Journal
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter

ANSWER = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": "The video shows a dog that runs across a field."}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 12},
    }
).encode()
SPAN_MS = 10_000


async def serve(latency: float) -> None:
    """Answers every request after `latency` seconds; prints its port first."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        await asyncio.sleep(latency)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 22, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server_process(latency: float) -> Iterator[int]:
    """The server's port."""
    command = [sys.executable, "-m", "benchmarks.captions", "--serve", str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


async def bare_client(port: int, body: bytes, clips: int, concurrency: int) -> None:
    """Sends the same bytes `clips` times and reads the answers, with nothing around it."""
    left = iter(range(clips))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def worker() -> None:
        for _ in left:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            writer.write(body)
            await writer.drain()
            await reader.read()
            writer.close()

    await asyncio.gather(*(worker() for _ in range(concurrency)))


def make_shard(storage: Storage, clips: int, frames: int, size: int) -> tuple[pa.Table, pa.Table]:
    """The `clips` and `frames` tables of a shard whose pictures are random bytes."""
    clip_rows, frame_rows = [], []
    with TarWriter(storage, "frames/d-00000", "token") as tar:
        for i in range(clips):
            video = f"v{i:05d}"
            ids = {"dataset": "d", "video_id": video, "clip_id": f"{video}_0_{SPAN_MS}"}
            clip = {"status": "ok", "start_ms": 0, "end_ms": SPAN_MS}
            clip_rows.append({**dict.fromkeys(schema("clips").names), **ids, **clip})
            for k in range(frames):
                m = tar.add(f"{video}-{k}", {"jpg": os.urandom(size)})["jpg"]
                where = {"tar": m.tar, "offset": m.offset, "size": m.size, "sha256": m.sha256}
                at = {"time_ms": k * SPAN_MS // frames, "frame": k}
                frame_rows.append({**dict.fromkeys(schema("frames").names), **ids, **at, **where})
    return (
        pa.Table.from_pylist(clip_rows, schema("clips").arrow),
        pa.Table.from_pylist(frame_rows, schema("frames").arrow),
    )


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def report(name: str, work: Callable[[], object], clips: int, least: float) -> None:
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    print(
        f"{name:28s} {wall:8.2f} s wall  {cpu:7.2f} s CPU  {1000 * cpu / clips:6.2f} ms CPU a clip"
        f"  {100 * (wall / least - 1):+6.1f} % over the server's time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds that the server takes for a request")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--kilobytes", type=int, default=50, help="size of a frame")
    parser.add_argument("--serve", type=float, metavar="LATENCY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
        return
    clips, concurrency = options.clips, options.concurrency
    least = -(-clips // concurrency) * options.latency
    print(
        f"{clips} clips, {options.frames} frames of {options.kilobytes} kB, {concurrency} at once, latency {options.latency} s: least {least:.2f} s"
    )
    with tempfile.TemporaryDirectory() as root, server_process(options.latency) as port:
        storage = Storage(root)
        tables = make_shard(storage, clips, options.frames, 1000 * options.kilobytes)
        body = os.urandom(1000 * options.kilobytes * options.frames * 2 // 3).hex().encode()
        report("bare client", lambda: asyncio.run(bare_client(port, body, clips, concurrency)), clips, least)
        params = Captions(
            backend="openai",
            url=f"http://127.0.0.1:{port}/v1",
            model="m",
            frames=options.frames,
            concurrency=concurrency,
        )

        def stage() -> None:
            with Journal(storage, "captions/d-00000", "benchmark") as journal:
                empty = schema("video_metadata").empty(), schema("raw_shards").empty()
                _, stats = caption_shard(
                    CaptionInputs(*tables, *empty), params, storage, journal=journal, captioner=load_captioner(params)
                )
            if stats.ok != clips:
                raise SystemExit(f"{clips - stats.ok} clips have no caption")

        report("caption_shard", stage, clips, least)


if __name__ == "__main__":
    main()
