"""The one CLIP pass: an embedding per sampled frame, from which aesthetic, category and caption scores are computed.

What belongs here: encoding the frames of a shard, and reading the stored vectors back as matrices. What does not: scores.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.schemas import schema
from curation_assets.scores.frame_reading import COLUMNS, FrameReader, Read
from curation_resources.faults import Fault
from curation_resources.processes import end_with_parent
from curation_resources.progress import told
from curation_resources.storage import Storage

if TYPE_CHECKING:
    from curation_assets.scores.frame_embeddings import Embeddings
    from curation_resources.clip_model import ClipModel

MAX_READERS = 16
CHUNK = 16
"""Frames that a process decodes at a time."""
PROCESS_FRAMES = 2048
"""A shard of fewer frames is read by threads: processes would take longer to start than they save."""


@dataclass(frozen=True)
class EmbeddingStats:
    """What one pass did.

    Attributes:
        frames, embedded, failed: counts; `frames` is the sum of the other two.
        seconds: wall time of the pass, the model's loading not included.
        model_seconds: the part of it in which the model computed; the rest is waiting for pictures.
        model, device, precision: what computed.
        faults: video id to why frames of it could not be read now.
    """

    frames: int
    embedded: int
    failed: int
    seconds: float
    model_seconds: float
    model: str
    device: str
    precision: str
    faults: Mapping[str, Fault] = field(default_factory=dict)

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds > 0 else 0.0


def model_identity(params: Embeddings) -> str:
    """What identifies the model in a fingerprint, without loading it; see `curation_resources.clip_model.clip_identity`."""
    from curation_resources.clip_model import clip_identity

    return clip_identity(params.model, params.pretrained)


def load_model(params: Embeddings) -> ClipModel:
    """Loads the recipe's CLIP model to encode frames.

    Raises:
        curation_resources.weights.MissingWeights, curation_resources.weights.WrongWeights: one sentence that says which weights and what to set.
    """
    from curation_resources.clip_model import load_clip

    return load_clip(params.model, params.pretrained, device=params.device, precision=params.precision)


def load_text_encoder(params: Embeddings) -> ClipModel:
    """Loads only the text tower of the recipe's CLIP model, for prompts and captions; raises as `load_model`."""
    from curation_resources.clip_model import load_clip

    return load_clip(params.model, params.pretrained, device=params.device, precision=params.precision, text_only=True)


def asset_table(asset: str, columns: Mapping[str, Any]) -> pa.Table:
    """Columns (lists or arrays) as the table of `asset`, in declared order and types, sorted by its key."""
    table = schema(asset)
    arrays = [
        c if isinstance(c := columns[f.name], pa.Array | pa.ChunkedArray) else pa.array(c, f.type) for f in table.arrow
    ]
    return pa.table(arrays, schema=table.arrow).sort_by([(key, "ascending") for key in table.key])


def embed_frames(
    frames: pa.Table, storage: Storage, params: Embeddings, model: ClipModel, processes: int = 0
) -> tuple[pa.Table, EmbeddingStats]:
    """Embeds the frames of a shard.

    JPEGs are read and decoded ahead of the model; batches run over clip boundaries, so only the last is short.

    Args:
        frames: rows of `frames`.
        storage: where their tars lie.
        params: batch size.
        model: from `load_model`.
        processes: how many decode, see `decoding_processes`; 0 leaves it to threads of this one.

    Returns:
        The `frame_embeddings` table with a row for each frame, and what the pass did. A frame that is damaged, gone or not what its
        row says has a null embedding and an error; where that may pass, its video is named in the stats' `faults`.

    Raises:
        OSError: a process that decodes was ended; the shard can be tried again.
    """
    started, model_seconds = time.perf_counter(), 0.0
    rows = frames.select(list(COLUMNS)).to_pylist()
    faults: dict[str, Fault] = {}
    vectors = np.zeros((len(rows), model.dimension), np.float16)
    errors: list[str | None] = [None] * len(rows)
    pending: list[int] = []
    pixels: list[np.ndarray] = []

    def flush() -> None:
        nonlocal model_seconds
        began = time.perf_counter()
        encoded = model.encode_images(np.stack(pixels))
        model_seconds += time.perf_counter() - began
        vectors[pending] = encoded
        for i, vector in zip(pending, encoded, strict=True):
            if not np.isfinite(vector).all():
                errors[i] = (
                    f"model {model.identity} gave an embedding that is not finite in {model.precision}; set embeddings.precision: fp32"
                )
        pending.clear()
        pixels.clear()

    pictures = _read_ahead(rows, storage, model, 2 * params.batch, processes)
    for i, picture in enumerate(told(pictures, len(rows), "frames")):
        if isinstance(picture, Fault):
            faults.setdefault(rows[i]["video_id"], picture)
            picture = picture.reason
        if isinstance(picture, str):
            errors[i] = picture
            continue
        pending.append(i)
        pixels.append(picture)
        if len(pixels) == params.batch:
            flush()
    if pixels:
        flush()

    columns = {name: frames[name] for name in ("dataset", "video_id", "clip_id", "time_ms", "frame")}
    table = asset_table(
        "frame_embeddings",
        {
            **columns,
            "embedding": vector_column(vectors, [e is not None for e in errors]),
            "model": [model.identity] * len(rows),
            "error": errors,
        },
    )
    failed = sum(e is not None for e in errors)
    seconds = time.perf_counter() - started
    return table, EmbeddingStats(
        len(rows),
        len(rows) - failed,
        failed,
        seconds,
        model_seconds,
        model.identity,
        model.device,
        model.precision,
        faults,
    )


def decoding_processes(model: ClipModel, frames: int, workers: int) -> int:
    """How many processes should decode: as many as a stage may have if a GPU waits for `frames` pictures, else none.

    Threads of one process decode about 700 frames/s together, however many they are; ViT-L-14 on a large GPU takes three times that.
    """
    return workers if model.device.startswith("cuda") and model.fit is not None and frames >= PROCESS_FRAMES else 0


def _read_ahead(
    rows: Sequence[Mapping[str, Any]], storage: Storage, model: ClipModel, ahead: int, processes: int = 0
) -> Iterator[Read]:
    """The pictures of `rows` in order, as the model takes them, or why one cannot be had.

    At most about `ahead` are in memory, with processes at least two chunks for each.
    """
    processes = processes if model.fit is not None else 0
    reader = FrameReader.of(model, storage, elsewhere=bool(processes))
    if processes:
        pool: Executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), end_with_parent)
    else:
        pool = ThreadPoolExecutor(min(MAX_READERS, max(2, os.cpu_count() or 1)), "frames")
    source = (rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK))
    with pool:
        waiting: deque[Future[list[Read]]] = deque(
            pool.submit(reader.all, part) for part in islice(source, max(1 + ahead // CHUNK, 2 * processes))
        )
        try:
            while waiting:
                yield from waiting.popleft().result()
                for part in islice(source, 1):
                    waiting.append(pool.submit(reader.all, part))
        except BrokenProcessPool as error:
            raise OSError(
                "a process that decodes frames was ended from outside, perhaps for lack of memory; lower CURATION_WORKERS or try again"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def vector_column(vectors: np.ndarray, missing: Sequence[bool]) -> pa.ListArray:
    """Rows of a matrix [n, d] as a list<float16> column; null where `missing`."""
    n, d = vectors.shape
    present = ~np.asarray(missing, bool)
    lengths = np.where(present, d, 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = pa.array(vectors[present].astype(np.float16).ravel(), pa.float16())
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), values, type=pa.list_(pa.float16()), mask=pa.array(~present) if n else None
    )


@dataclass(frozen=True)
class ClipVectors:
    """The stored vectors of a shard, grouped by clip.

    Attributes:
        clip_ids: clips with at least one embedding, in table order.
        vectors: float32 [n, d], of length 1 each.
        starts: index of each clip's first vector, [len(clip_ids)].
        model: identity of the model that made them; None if there are none.
    """

    clip_ids: list[str]
    vectors: np.ndarray
    starts: np.ndarray
    model: str | None

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    @property
    def counts(self) -> np.ndarray:
        """Number of frames of each clip."""
        return np.diff(np.append(self.starts, len(self.vectors)))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over each clip's frames of values [n, ...] given per frame."""
        if not self.clip_ids:
            return np.zeros((0, *values.shape[1:]), np.float32)
        counts = self.counts.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(np.add.reduceat(values, self.starts, axis=0) / counts)

    def reduce(self, values: np.ndarray, how: str) -> np.ndarray:
        """`mean`, `max` or `min` over each clip's frames."""
        if how == "mean" or not self.clip_ids:
            return self.mean(values)
        return np.asarray({"max": np.maximum, "min": np.minimum}[how].reduceat(values, self.starts, axis=0))


def clip_vectors(embeddings: pa.Table) -> ClipVectors:
    """Reads a `frame_embeddings` table as matrices; rows without embedding are left out.

    Raises:
        ValueError: the rows come from different models or have different lengths.
    """
    models = pc.unique(embeddings["model"]).to_pylist()
    if len(models) > 1:
        raise ValueError(
            f"frame_embeddings holds vectors of {len(models)} models ({', '.join(sorted(models))}); materialize it again"
        )
    present = embeddings.filter(pc.is_valid(embeddings["embedding"])).sort_by(
        [(k, "ascending") for k in ("video_id", "clip_id", "time_ms")]
    )
    model = models[0] if models else None
    if not len(present):
        return ClipVectors([], np.zeros((0, 0), np.float32), np.zeros(0, np.int64), model)
    column = present["embedding"].combine_chunks()
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1:
        raise ValueError(
            f"frame_embeddings holds vectors of lengths {', '.join(map(str, sorted(lengths)))}; materialize it again"
        )
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, lengths[0]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = present["clip_id"].to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    return ClipVectors([str(ids[s]) for s in starts], vectors, starts, model)


def mean_embeddings(embeddings: pa.Table) -> tuple[list[str], np.ndarray]:
    """One vector per clip for semantic near-duplicates: the mean of its frames' vectors, of length 1.

    Returns:
        clip ids and float32 [clips, d]; the product of the matrix with its transpose holds the cosines.
    """
    clips = clip_vectors(embeddings)
    means = clips.mean(clips.vectors).astype(np.float32)
    return clips.clip_ids, means / np.maximum(np.linalg.norm(means, axis=-1, keepdims=True), 1e-12)


def real_clips(clips: pa.Table) -> pa.Table:
    """The rows of `clips` that are clips, with their id columns."""
    return clips.filter(pc.equal(clips["status"], "ok")).select(["dataset", "video_id", "clip_id"])
