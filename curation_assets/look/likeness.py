"""How much clips look like another clip, like words, or like a picture: cosines over the stored embeddings.

The mean of a clip's vectors stands for it, read from all shards when it is first asked for and kept beside the columns in half precision: 1 kB a clip of 512 dimensions, on disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.look.blocks import BLOCK_ROWS, side_by_side
from curation_assets.look.candidates import CandidateColumns
from curation_assets.look.column_files import NEW, reserved
from curation_assets.look.scales import ValuesOf
from curation_assets.recipes import Recipe
from curation_assets.scores.frame_embeddings import TABLE as EMBEDDINGS
from curation_resources.progress import told
from curation_resources.provenance import combined_hash
from curation_resources.tables import MissingTable, TableStore
from curation_resources.weights import MissingWeights, WrongWeights
from curation_resources.words import plural

if TYPE_CHECKING:
    from PIL import Image

ROWS = 8192
"""Clips that are compared at a time."""
KEPT = 4
"""Answers that are remembered, four bytes for each candidate, and pictures."""
VECTORS = "vectors-"
Vectors = NDArray[np.float16]
"""(n, dimension): the mean of each candidate's clip, of length 1, mapped from a file; all zero where it has no embedding."""
CLIP, WORDS, PICTURE = "clip", "words", "picture"


class NoLikeness(LookupError):
    """Clips cannot be compared so; the message says why: no embeddings, several models, no weights."""


class Likeness:
    """The embeddings of a collection's clips.

    Args:
        store: the tables.
        recipes: dataset -> recipe.
        candidates: whose clips.
    """

    def __init__(self, store: TableStore, recipes: Mapping[str, Recipe], candidates: CandidateColumns) -> None:
        self._store, self._recipes, self._candidates = store, recipes, candidates
        self._lock = threading.Lock()
        self._vectors: Vectors | None = None
        self._model = ""
        self._answers: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()
        self._pictures: OrderedDict[str, Image.Image] = OrderedDict()

    def to(self, kind: str, what: str) -> ValuesOf:
        """The cosine of each candidate's clip with something, -1 to 1, block by block; nan without an embedding.

        Args:
            kind: `CLIP`, then `what` is the row of a candidate; `WORDS`; or `PICTURE`, then `what` is what `remember` gave.

        Raises:
            NoLikeness: there is nothing to compare.
        """
        with self._lock:
            if (kind, what) not in self._answers:
                vectors = self._loaded()
                one = self._of_row(vectors, what) if kind == CLIP else self._of_model(kind, what)
                self._answers[kind, what] = _cosines(vectors, one)
                while len(self._answers) > KEPT:
                    self._answers.popitem(last=False)
            self._answers.move_to_end((kind, what))
            found = self._answers[kind, what]
        return lambda block: found[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS].astype(np.float64)

    def _loaded(self) -> Vectors:
        if self._vectors is None:
            by_shard = self._candidates.by_shard
            made = self._store.hashes(EMBEDDINGS.asset, by_shard.shards)
            path = self._candidates.folder.path / f"{VECTORS}{combined_hash(made)[:16]}"
            self._vectors = self._kept(path)
            if self._vectors is None:
                self._write(path)
                self._vectors = self._kept(path)
        assert self._vectors is not None
        return self._vectors

    def _kept(self, path: Path) -> Vectors | None:
        """The vectors in a file, if it is there and whole; its last lines say of which model they are."""
        try:
            told = json.loads(Path(f"{path}.json").read_text())
            shape = (self._candidates.rows, int(told["dimension"]))
            if path.stat().st_size != 2 * shape[0] * shape[1]:
                return None
            found: Vectors = np.memmap(path, np.float16, "r", shape=shape)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self._model = str(told["model"])
        return found

    def _write(self, path: Path) -> None:
        """Reads all shards, one after the other, and writes the vectors."""
        from curation_assets.scores.embedding import clip_vectors

        candidates = self._candidates
        by_shard = candidates.by_shard
        found: np.memmap[Any, np.dtype[np.float16]] | None = None
        models: set[str] = set()
        names = ["video_id", "clip_id", "time_ms", "embedding", "model"]
        draft = path.parent / f"{NEW}{uuid.uuid4().hex}"
        try:
            for number in told(range(len(by_shard.shards)), len(by_shard.shards), "shards of embeddings"):
                shard = by_shard.shards[number]
                try:
                    stored = clip_vectors(self._store.read(EMBEDDINGS.asset, shard, names))
                except MissingTable:
                    continue
                except ValueError as error:
                    raise NoLikeness(f"{shard}: {error}") from error
                if not stored.clip_ids:
                    continue
                models.add(stored.model or "")
                means = stored.mean(stored.vectors)
                means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
                if found is None:
                    candidates.fits(
                        2 * candidates.rows * stored.dimension,
                        f"the embeddings of {plural(candidates.rows, 'candidate', commas=True)}",
                    )
                    with open(draft, "w+b") as file:
                        found = reserved(file, np.float16, (candidates.rows, stored.dimension))
                if len(models) > 1 or found.shape[1] != stored.dimension:
                    raise NoLikeness(
                        f"the embeddings are of several models ({', '.join(sorted(models))}), which cannot be compared"
                    )
                rows = by_shard.of(number)
                ids = candidates.at("clip_id", candidates.collection.of_clips, rows)
                at = pc.index_in(ids, value_set=pa.array(stored.clip_ids, pa.string()))
                known = pc.is_valid(at).to_numpy(zero_copy_only=False)
                found[rows[known]] = means[at.drop_null().to_numpy()]
            if found is None:
                raise NoLikeness(
                    "no clip has an embedding; `embeddings: {}` in the recipe asks for them, and a run makes them"
                )
            found.flush()
            Path(f"{path}.json").write_text(json.dumps({"model": models.pop(), "dimension": found.shape[1]}))
            os.replace(draft, path)
            for old in path.parent.glob(f"{VECTORS}*"):  # of embeddings as they were
                if not old.name.startswith(path.name):
                    old.unlink(missing_ok=True)
        finally:
            draft.unlink(missing_ok=True)

    def _of_row(self, vectors: Vectors, what: str) -> NDArray[np.float32]:
        row = int(what) if what.isdecimal() else -1
        if not 0 <= row < len(vectors) or not vectors[row].any():
            raise NoLikeness("this clip has no embedding")
        return vectors[row].astype(np.float32)

    def remember(self, data: bytes) -> str:
        """Keeps the bytes of a picture to compare clips with, beside the last few others; what it is called.

        Raises:
            NoLikeness: it is no picture.
        """
        from PIL import Image

        try:
            with Image.open(io.BytesIO(data)) as opened:
                picture = opened.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise NoLikeness("that is no picture that can be read: JPEG, PNG, WebP and the like can") from error
        name = hashlib.sha256(data).hexdigest()[:16]
        with self._lock:
            self._pictures[name] = picture
            while len(self._pictures) > KEPT:
                self._pictures.popitem(last=False)
        return name

    def _of_model(self, kind: str, what: str) -> NDArray[np.float32]:
        """The vector of words, or of a picture that is remembered, by the model that the embeddings are of."""
        from curation_assets.scores.embedding import load_model, load_text_encoder

        params = self._candidates.collection.recipe.embeddings
        said = "words" if kind == WORDS else "pictures"
        if kind == PICTURE and what not in self._pictures:
            raise NoLikeness("that picture is not held any more: choose it again")
        try:
            encoder = load_text_encoder(params) if kind == WORDS else load_model(params)
        except (MissingWeights, WrongWeights) as error:
            raise NoLikeness(f"{said} cannot be compared here: {error}") from error
        if encoder.identity != self._model:
            raise NoLikeness(
                f"the embeddings were made by {self._model}, the {said} would be encoded by {encoder.identity}"
            )
        found: NDArray[np.float32]
        if kind == WORDS:
            found = encoder.encode_texts([what]).vectors[0]
        else:
            found = encoder.encode_images(encoder.preprocess(self._pictures[what])[None])[0]
        return found


def _cosines(vectors: Vectors, one: NDArray[np.float32]) -> NDArray[np.float32]:
    one = one / max(float(np.linalg.norm(one)), 1e-12)
    found = np.empty(len(vectors), np.float32)

    def compare(part: int) -> None:
        own = slice(part * ROWS, (part + 1) * ROWS)
        held = vectors[own].astype(np.float32)
        found[own] = np.where(held.any(axis=1), held @ one, np.nan)

    side_by_side(compare, range(-(-len(vectors) // ROWS)))
    return found
