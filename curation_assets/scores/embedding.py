"""The one CLIP pass: an embedding per sampled frame, from which aesthetic, category and caption scores are computed.

What belongs here: encoding the frames of a shard, and reading the stored vectors back as matrices. What does not: scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.schemas import schema
from curation_resources.faults import Fault
from curation_resources.progress import told
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.scores.embedding_line import EmbeddingLine
    from curation_assets.scores.frame_embeddings import Embeddings
    from curation_resources.clip_model import ClipModel


@dataclass(frozen=True)
class EmbeddingStats:
    """What one pass did.

    Attributes:
        frames, embedded, failed: counts; `frames` is the sum of the other two.
        kept: frames that were read from the inputs beside them.
        seconds: wall time from the first batch to the last, the model's loading not included.
        waited_s: the part of it for which the model waited for pictures.
        model, device, precision: what computed.
        faults: video id to why frames of it could not be read now.
    """

    frames: int
    embedded: int
    failed: int
    kept: int
    seconds: float
    waited_s: float
    model: str
    device: str
    precision: str
    faults: Mapping[str, Fault] = field(default_factory=dict)

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds > 0 else 0.0


def model_identity(params: Embeddings) -> str:
    """What identifies the model in a fingerprint, without loading it; see `curation_resources.clip_weights.clip_identity`."""
    from curation_resources.clip_weights import clip_identity

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


def embed_frames(frames: pa.Table, line: EmbeddingLine, key: str = "") -> tuple[pa.Table, EmbeddingStats]:
    """Embeds the frames of a shard.

    Frames are read ahead of the model; batches run over the borders of clips, and of shards of which the line knows.

    Args:
        frames: rows of `frames`.
        line: what reads and computes; those of `key` may be on their way already.

    Returns:
        The `frame_embeddings` table with a row for each frame, and what the pass did. A frame that is damaged, gone or not what its
        row says has a null embedding and an error; where that may pass, its video is named in the stats' `faults`.

    Raises:
        OSError: a process that decodes was ended; the shard can be tried again.
    """
    model = line.model
    try:
        job = line.put(frames, key)
        for _ in told(job.finished(), len(job.places), "frames"):
            pass
    except BaseException:
        line.stop()
        raise
    videos = frames["video_id"].to_pylist()
    faults: dict[str, Fault] = {}
    errors: list[str | None] = []
    finite = np.asarray(np.isfinite(job.vectors).all(axis=1)).tolist()
    for video, problem, usable in zip(videos, job.problems, finite, strict=True):
        if isinstance(problem, Fault):
            faults.setdefault(video, problem)
            problem = problem.reason
        if problem is None and not usable:
            problem = f"model {model.identity} gave an embedding that is not finite in {model.precision}; set embeddings.precision: fp32"
        errors.append(problem)
    columns = {name: frames[name] for name in ("dataset", "video_id", "clip_id", "time_ms", "frame")}
    table = asset_table(
        "frame_embeddings",
        {
            **columns,
            "embedding": vector_column(job.vectors, [e is not None for e in errors]),
            "model": [model.identity] * len(errors),
            "error": errors,
        },
    )
    failed = sum(e is not None for e in errors)
    kept = sum(p.form is not None for p in job.places)
    return table, EmbeddingStats(
        len(errors),
        len(errors) - failed,
        failed,
        kept,
        job.seconds,
        job.waited_s,
        model.identity,
        model.device,
        model.precision,
        faults,
    )


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
            f"frame_embeddings holds vectors of {plural(len(models), 'model')} ({', '.join(sorted(models))}); materialize it again"
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
