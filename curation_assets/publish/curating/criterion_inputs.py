"""What a criterion asks of the candidates that passed the rules: the place that the hash of the id gives, classes, scores, embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.coded_texts import coded
from curation_assets.publish.curating.criteria import Candidates
from curation_assets.publish.curating.places_of_ids import PlacesOfIds
from curation_assets.publish.curating.subset_tables import class_column, score_column
from curation_assets.publish.subsets import Subset
from curation_assets.rules.evaluation import numbers
from curation_assets.rules.language import SOURCE
from curation_assets.scores.embedding import mean_embeddings
from curation_resources.growing_array import GrowingArray
from curation_resources.words import plural

PART = 1 << 20
"""Candidates whose classes are numbered at a time."""


class EmbeddingsFile:
    """Embeddings on disk, float16, a row per candidate and nan where there is none."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, open(path, "wb")
        self._dim = self._rows = 0

    def add(self, vectors: np.ndarray, present: np.ndarray) -> None:
        """`vectors` of the candidates that are `present`.

        Raises:
            ValueError: they are not as long as those of other shards.
        """
        if len(vectors) and not self._dim:
            self._dim = vectors.shape[1]
            self._write(np.full((self._rows, self._dim), np.nan))
        if len(vectors) and vectors.shape[1] != self._dim:
            raise ValueError(
                f"embeddings of {vectors.shape[1]} and of {plural(self._dim, 'number')} cannot be compared; give the subset datasets with one model"
            )
        block = np.full((len(present), self._dim), np.nan)
        if len(vectors):
            block[present] = vectors
        self._write(block)
        self._rows += len(present)

    def _write(self, block: np.ndarray) -> None:
        self._file.write(block.astype(np.float16).tobytes())

    def array(self) -> np.ndarray:
        """All rows, read from disk where they are used."""
        self._file.close()
        if not self._rows or not self._dim:
            return np.full((self._rows, 1), np.nan, np.float16)
        return np.memmap(self._path, np.float16, "r", shape=(self._rows, self._dim))


class PassedCandidates:
    """What the criterion asks of the candidates that passed the rules, in the order in which they are spooled.

    Args:
        subset: the section of the recipe.
        folder: local scratch folder.
        expected: how many candidates will come, about.
    """

    def __init__(self, subset: Subset, folder: Path, expected: int = 0) -> None:
        self._subset, self._select = subset, subset.select
        self._places = PlacesOfIds(subset.select.seed, expected)
        self._class_by, self._score_by = class_column(subset), score_column(subset)
        self._order, self._scores = GrowingArray(np.uint64), GrowingArray(np.float64)
        self._videos, self._classes = GrowingArray(np.int32), GrowingArray(np.int32)
        self._labels: dict[str, int] = {}
        self._seen_videos = self._singles = 0
        self._vectors = EmbeddingsFile(folder / "vectors.f16") if self._select.criterion == "min_redundancy" else None

    @property
    def columns(self) -> list[str]:
        """Columns of the candidates that `add` looks at."""
        if self._select.criterion == "all":
            return []
        own = {"clip_id" if self._subset.of == "clips" else "track_id", *filter(None, (self._class_by, self._score_by))}
        own |= {"video_id"} if self.by_video else set()
        own |= {"embedding"} if self._vectors is not None and self._subset.of == "tracks" else set()
        return sorted(own)

    @property
    def by_video(self) -> bool:
        """Whether it is told from `add` which candidates are of one video, so that these must come together."""
        return self._select.criterion == "video_balanced"

    def add(self, dataset: str, rows: pa.Table, embeddings: Callable[[], pa.Table]) -> None:
        """Notes the candidates of a shard of `dataset`; `embeddings` reads its frame embeddings."""
        if self._select.criterion == "all":  # asks for no place
            self._order.add(np.zeros(rows.num_rows, np.uint64))
            return
        ids = rows["clip_id" if self._subset.of == "clips" else "track_id"]
        self._order.add(self._places.of(ids, f"{dataset}/"))
        if self.by_video:  # a video lies in one shard
            codes = coded(rows["video_id"])
            self._videos.add(codes.indices.to_numpy() + self._seen_videos)
            self._seen_videos += len(codes.dictionary)
        if self._class_by is not None:
            self._classes.add(self._coded(rows[self._class_by]))
        elif self._select.criterion == "min_redundancy":
            self._classes.add(np.full(rows.num_rows, self._labels.setdefault("all", 0)))
        if self._score_by is not None:
            self._scores.add(self._numbers(rows[self._score_by]))
        if self._vectors is not None:
            found = _track_vectors(rows) if self._subset.of == "tracks" else _clip_vectors(rows, embeddings())
            self._vectors.add(*found)

    def _coded(self, labels: pa.ChunkedArray) -> np.ndarray:
        """Codes of labels over all shards, -1 for null; a clip without near-duplicates is a cluster of its own, coded from -2 down."""
        encoded = labels.combine_chunks().dictionary_encode()
        table = [self._labels.setdefault(str(v), len(self._labels)) for v in encoded.dictionary.to_pylist()]
        codes = np.array([*table, -1], np.int64)[encoded.indices.fill_null(len(table)).to_numpy()]
        if self._class_by == "cluster_id" and self._select.criterion == "cluster_balanced":
            alone = np.flatnonzero(codes < 0)
            codes[alone] = -2 - self._singles - np.arange(len(alone))
            self._singles += len(alone)
        return codes

    def _numbers(self, values: pa.ChunkedArray) -> np.ndarray:
        values = numbers(values) if (self._score_by or "").startswith(SOURCE) else values
        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            raise ValueError(f"select.order_by: {self._score_by} is {values.type}, not a number")
        return pc.fill_null(values.cast(pa.float64()), math.nan).to_numpy()

    def candidates(self) -> Candidates:
        """What was noted of all shards, in the order in which candidates were added; nothing can be added after."""
        names = [*self._labels]
        by_name = sorted(range(len(names)), key=names.__getitem__)
        of_classes = self._class_by is not None or self._select.criterion == "min_redundancy"
        return Candidates(
            self._order.whole(),
            self._videos.whole() if self.by_video else None,
            self._numbered(by_name) if of_classes else None,
            [names[i] for i in by_name],
            self._scores.whole() if self._score_by is not None else None,
            self._vectors.array() if self._vectors is not None else None,
        )

    def _numbered(self, by_name: Sequence[int]) -> np.ndarray:
        """The classes in the order of their names, those of clusters of one after the others; int32 (n,), -1 where unknown."""
        codes, count = self._classes.whole(), len(by_name)
        place = np.empty(count + 1, np.int32)
        place[by_name], place[count] = np.arange(count, dtype=np.int32), -1
        for start in range(0, len(codes), PART):
            part = codes[start : start + PART]
            alone = part < -1
            part[:] = np.where(alone, count - 2 - part, place[np.where(part < 0, count, part)])
        return codes


def _track_vectors(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    column = rows["embedding"].combine_chunks()
    present = column.is_valid().to_numpy(zero_copy_only=False)
    flat = column.drop_null().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    vectors = flat.reshape(int(present.sum()), -1) if present.any() else np.empty((0, 0), np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), present


def _clip_vectors(rows: pa.Table, embeddings: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    ids, means = mean_embeddings(embeddings)
    index = pc.fill_null(pc.index_in(rows["clip_id"], value_set=pa.array(ids, pa.string())), -1).to_numpy()
    return means[index[index >= 0]], index >= 0
