"""Stored frames on their way to a CLIP model: what reading them costs, and how long a model waits. Part `feed` of `python -m benchmarks.models`.

The frames are those that the one decode makes of videos (`--videos FOLDER`), else of generated pictures, with the model's input beside each in every
format. Before: the stored picture is decoded, resized by Pillow and cut, as it was until inputs were kept. Frames without an input are now read with only
the part resized that is cut out.

Then a stand-in for a model on a GPU takes batches at 25,000 and at 2,100 frames/s, from shard after shard whose tables are written in between, and reports
how long it waited: at 25,000 on few cores mostly for them, which the CPU time a frame tells apart (25,000 frames/s need 25 cores a millisecond).
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from curation_assets.contracts.tables import BESIDE, beside
from curation_assets.decode.analysis_results import AnalysisParams
from curation_assets.decode.clips import Clips
from curation_assets.decode.shard import analyse_shard, input_name
from curation_assets.schemas import schema
from curation_assets.scores.embedding import embed_frames
from curation_assets.scores.embedding_line import EmbeddingLine
from curation_assets.scores.frame_feed import CHUNK, FrameFeed
from curation_assets.scores.frame_reading import FrameReader, Place, places_of
from curation_resources.media import MediaRef
from curation_resources.model_input import Fit, ModelInput, Pixels
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter
from curation_resources.torchvision_ops import ensure_torchvision

RATES = (25_000, 2_100)
"""Frames a second that the stand-in takes: what ViT-B-32 and ViT-L-14 alone take on an H100."""
ROUNDS, COMPARED = 3, 64
FORMATS = ("zstd", "jpeg", "webp", "raw")


@dataclass
class StandIn:
    """Takes batches as a model on a GPU that computes `rate` frames a second; its vectors are zeros."""

    fit: Fit
    rate: int
    image_size: tuple[int, int] = (224, 224)
    dimension: int = 512
    device: str = "cpu"
    precision: str = "none"
    identity: str = "a stand-in"
    asynchronous: bool = True

    def preprocess(self, picture: Image.Image) -> Pixels:
        return self.fit(picture)

    def encode_ahead(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            time.sleep(len(batch) / self.rate)
            yield np.zeros((len(batch), self.dimension), np.float32)


@dataclass
class Frames:
    """Places of a list of frames, of one owner: a source for a feed."""

    places: Sequence[Place]
    at: int = 0

    def take(self, count: int) -> list[tuple[str, Sequence[Place]]]:
        part = self.places[self.at : self.at + count]
        self.at += len(part)
        return [("", part)] if part else []


def frames_of_videos(storage: Storage, folder: Path, fit: Fit) -> pa.Table:
    """The frames of all videos below a folder, with the input of a model beside each in every format."""
    videos = sorted(p for p in folder.rglob("*") if p.suffix in (".mp4", ".webm", ".mkv"))
    of_raw, of_metadata = schema("raw_shards"), schema("video_metadata")
    ok = [{"dataset": "d", "video_id": f"v{n}", "status": "ok"} for n, _ in enumerate(videos)]
    places = [{"tar": str(p.resolve()), "size": p.stat().st_size, "duration_ms": 60_000} for p in videos]
    raw = [{**dict.fromkeys(of_raw.names), **k, **p} for k, p in zip(ok, places, strict=True)]
    metadata = [{**dict.fromkeys(of_metadata.names), **k} for k in ok]
    params = AnalysisParams(clips=Clips(min_s=0.3), inputs=tuple(ModelInput(fit, f) for f in FORMATS))  # type: ignore[arg-type]
    tables = pa.Table.from_pylist(raw, of_raw.arrow), pa.Table.from_pylist(metadata, of_metadata.arrow)
    with TarWriter(storage, "frames/d-00000", "token") as writer:
        return analyse_shard(*tables, params, storage, writer, workers=0, wanted=("frames",)).tables["frames"]


def frames_of_pictures(storage: Storage, pictures: Iterable[np.ndarray], fit: Fit) -> pa.Table:
    """The same of pictures, which are stored as frames of 683 x 384 are."""
    inputs = [ModelInput(fit, f) for f in FORMATS]  # type: ignore[arg-type]
    rows: list[dict[str, Any]] = []
    with TarWriter(storage, "frames/d-00000", "token") as writer:
        for n, pixels in enumerate(pictures):
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, "JPEG", quality=90)
            made = [i.made(pixels) for i in inputs]
            names = [input_name(k, {"format": i.format}) for k, i in enumerate(inputs)]
            written = writer.add(f"v-{n}", {"jpg": out.getvalue(), **dict(zip(names, made, strict=True))})
            jpg = written["jpg"]
            beside = [
                {
                    "fit": fit.name,
                    "format": i.format,
                    "offset": m.offset - jpg.offset,
                    "size": m.size,
                    "sha256": m.sha256,
                }
                for i, m in zip(inputs, (written[name] for name in names), strict=True)
            ]
            ids = {"dataset": "d", "video_id": "v", "clip_id": "v_0_1", "time_ms": 1000 * n, "frame": n}
            where = {"tar": jpg.tar, "offset": jpg.offset, "size": jpg.size, "sha256": jpg.sha256, BESIDE: beside}
            rows.append({**dict.fromkeys(schema("frames").names), **ids, **where})
    return pa.Table.from_pylist(rows, schema("frames").arrow)


def repeated(frames: pa.Table, times: int) -> pa.Table:
    """The frames several times over, as of so many clips."""
    many = pa.concat_tables([frames] * times)
    numbers = pa.array(range(len(many)), pa.int64())
    return many.set_column(many.column_names.index("time_ms"), many.schema.field("time_ms"), numbers)


def packed(frames: pa.Table, storage: Storage, form: str | None) -> pa.Table:
    """The frames written anew with nothing beside them but the input of one format; None leaves none."""
    rows = frames.to_pylist()
    with TarWriter(storage, f"frames/{form or 'none'}-00000", "token") as writer:
        for n, row in enumerate(rows):
            kept = [i for i in beside(row) if i["format"] == form]
            media = {"jpg": row, **{input_name(0, i): i for i in kept}}
            content = {k: storage.read_media(MediaRef(m["tar"], m["offset"], m["size"])) for k, m in media.items()}
            written = list(writer.add(f"v-{n}", content).values())
            row |= {"tar": written[0].tar, "offset": written[0].offset}
            row[BESIDE] = [
                {k: i[k] for k in ("fit", "format", "size", "sha256")} | {"offset": m.offset - written[0].offset}
                for i, m in zip(kept, written[1:], strict=True)
            ] or None
    return pa.Table.from_pylist(rows, frames.schema)


def feed(folder: Path, small: bool, pictures: Iterable[np.ndarray], videos: Path | None) -> None:
    """Prints all rows."""
    storage, fit = Storage(str(folder / "storage")), Fit(224, (224, 224), 3)
    frames = frames_of_videos(storage, videos, fit) if videos else frames_of_pictures(storage, pictures, fit)
    mean = np.mean(frames["size"].to_numpy())
    print(f"{len(frames)} frames, the stored pictures {mean / 1000:.0f} kB each", flush=True)
    times = max(1, (600 if small else 8192) // len(frames))
    stored = {form: repeated(packed(frames, storage, form), times) for form in (None, *FORMATS)}
    of_model: Any = StandIn(fit, RATES[0])
    reader, whole = FrameReader.of(of_model, storage), FrameReader(storage, fit.size, partial(_resized_whole, fit))
    ways_of_reading = (
        ("before: the stored picture", None, whole),
        ("the stored picture", None, reader),
        *((f"the kept input, {f}", f, reader) for f in FORMATS),
    )
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name, *_ in ways_of_reading}
    _read(reader, places_of(stored["zstd"], fit)[:CHUNK])  # compiled, where it was not yet
    for _ in range(ROUNDS):  # one after the other, so that what else the machine does falls on all
        for name, form, how in ways_of_reading:
            spent[name].append(_read(how, places_of(stored[form], fit)))
    before = float(np.median([cpu for cpu, _ in spent["before: the stored picture"]]))
    for name, form, _ in ways_of_reading:
        cpu, wall = np.median(spent[name], axis=0)
        size = np.mean([p.size for p in places_of(stored[form], fit)]) / 1000
        print(
            f"  {name:27}: {size:5.0f} kB, {1e3 * cpu:.3f} CPU ms a frame from storage to the batch ({before / cpu:.1f} times less), {1 / wall:.0f} frames/s here;"
            f" {RATES[0]} frames/s would need {cpu * RATES[0]:.1f} cores (extrapolated) and {size * RATES[0] / 1e6:.2f} GB/s",
            flush=True,
        )
    _distances(reader, {name: places_of(stored[form], fit)[: len(frames)] for name, form, _ in ways_of_reading[1:]})
    ways = (
        ("stored pictures, shard by shard", None, False),
        ("kept inputs, shard by shard", "zstd", False),
        ("kept inputs, the next shards begun meanwhile", "zstd", True),
    )
    for rate in RATES:
        for name, form, beyond in ways:
            _wait(stored[form], StandIn(fit, rate), storage, name, beyond)


def _resized_whole(fit: Fit, picture: Image.Image) -> Pixels:
    """As torchvision has it: the whole picture is resized before the centre is cut out."""
    assert fit.shorter is not None
    least = min(picture.size)
    wide, high = (fit.shorter if s == least else int(fit.shorter * s / least) for s in picture.size)
    (height, width), resized = fit.size, picture.resize((wide, high), Image.Resampling(fit.resample))
    left, top = round((wide - width) / 2), round((high - height) / 2)
    return np.array(resized.crop((left, top, left + width, top + height)))


def _distances(reader: FrameReader, places: dict[str, list[Place]]) -> None:
    """How far vectors are from those of the lossless inputs, which are what open_clip's transform makes of the decoded frame (tests hold that).

    Of ViT-B-32 with random weights, which put all pictures into one corner: told apart from their mean they are further away than trained ones would be.
    """
    ensure_torchvision()
    import open_clip
    import torch

    torch.manual_seed(0)
    network = open_clip.create_model("ViT-B-32").eval()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (network.visual.image_mean, network.visual.image_std))
    vectors: dict[str, np.ndarray] = {}
    for name, own in places.items():
        pixels, _ = reader.read(own[:: max(1, len(own) // COMPARED)][:COMPARED])
        with torch.inference_mode():
            batch = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
            vectors[name] = torch.nn.functional.normalize(network.encode_image(batch), dim=-1).numpy()
    exact = vectors["the kept input, raw"]
    centre = exact.mean(axis=0)
    for name, found in vectors.items():
        a, b = found - centre, exact - centre
        seen = 1 - (a * b).sum(axis=1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
        print(
            f"  {name:27}: least cosine with open_clip on the decoded frame {(found * exact).sum(axis=1).min():.6f};"
            f" seen from the mean, one minus the cosine is {np.median(seen):.1e} (median), {seen.max():.1e} (largest) of {len(exact)} frames",
            flush=True,
        )


def _read(reader: FrameReader, places: Sequence[Place]) -> tuple[float, float]:
    """CPU and wall seconds a frame from storage to the memory that a device copies from."""
    cpu, wall = time.process_time(), time.perf_counter()
    for batch in FrameFeed[str](reader, 64).batches(Frames(places)):
        if len(batch.good) < len(batch.problems):
            raise SystemExit(f"a frame cannot be read: {next(p for p in batch.problems if p)}")
        batch.release()
    return (time.process_time() - cpu) / len(places), (time.perf_counter() - wall) / len(places)


def _wait(frames: pa.Table, model: Any, storage: Storage, name: str, beyond: bool) -> None:
    """The stand-in over eight shards, with what is done with each table in between."""
    size = len(frames) // 8
    shards = [frames.slice(n * size, size) for n in range(8)]
    line = EmbeddingLine(model, storage, 64)
    cpu, wall = time.process_time(), time.perf_counter()
    for n, shard in enumerate(shards):
        if beyond:
            for later in range(n, min(n + 3, 8)):
                if not line.begun(str(later)):
                    line.ahead(shards[later], str(later))
        table, _ = embed_frames(shard, line, str(n))
        out = io.BytesIO()
        pa.parquet.write_table(table, out, compression="zstd")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    computed = len(frames) / model.rate
    print(
        f"  stand-in at {model.rate} frames/s, {name}: {len(frames) / wall:.0f} frames/s, waited {100 * (1 - computed / wall):.0f} % of the time;"
        f" {1e3 * cpu / len(frames):.2f} CPU ms a frame with the tables",
        flush=True,
    )
