"""How much clips look like another clip, like words, or like a picture: cosines over the stored embeddings.

The mean of a clip's vectors stands for it, read from all shards when it is first asked for and held in half precision: 1 kB a clip of 512 dimensions.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.look.candidates import CandidateColumns
from curation_assets.recipes import Recipe
from curation_assets.scores.frame_embeddings import TABLE as EMBEDDINGS
from curation_resources.tables import MissingTable, TableStore
from curation_resources.weights import MissingWeights, WrongWeights

if TYPE_CHECKING:
    from PIL import Image

ROWS = 65_536
"""Clips that are compared at a time."""
KEPT = 8
"""Answers that are remembered."""
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
        self._vectors: NDArray[np.float16] | None = None
        self._model = ""
        self._answers: OrderedDict[tuple[str, str], NDArray[np.float64]] = OrderedDict()
        self._pictures: OrderedDict[str, Image.Image] = OrderedDict()

    def to(self, kind: str, what: str) -> NDArray[np.float64]:
        """float64 (n,): cosine of each candidate's clip with something, -1 to 1; nan without an embedding.

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
            return self._answers[kind, what]

    def _loaded(self) -> NDArray[np.float16]:
        if self._vectors is None:
            self._vectors = self._read()
        return self._vectors

    def _read(self) -> NDArray[np.float16]:
        from curation_assets.scores.embedding import clip_vectors

        place = self._candidates.place
        clips, shards = place["clip_id"].combine_chunks(), place["shard"].combine_chunks()
        found: NDArray[np.float16] | None = None
        models: set[str] = set()
        for shard in pc.unique(shards).to_pylist():
            try:
                stored = clip_vectors(
                    self._store.read(EMBEDDINGS.asset, shard, ["video_id", "clip_id", "time_ms", "embedding", "model"])
                )
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
                found = np.full((len(clips), stored.dimension), np.nan, np.float16)
            if len(models) > 1 or found.shape[1] != stored.dimension:
                raise NoLikeness(
                    f"the embeddings are of several models ({', '.join(sorted(models))}), which cannot be compared"
                )
            rows = pc.indices_nonzero(pc.equal(shards, shard)).to_numpy()
            at = pc.index_in(clips.take(pa.array(rows)), value_set=pa.array(stored.clip_ids, pa.string()))
            known = pc.is_valid(at).to_numpy(zero_copy_only=False)
            found[rows[known]] = means[at.drop_null().to_numpy()]
        if found is None:
            raise NoLikeness(
                "no clip has an embedding; `embeddings: {}` in the recipe asks for them, and a run makes them"
            )
        self._model = models.pop()
        return found

    def _of_row(self, vectors: NDArray[np.float16], what: str) -> NDArray[np.float32]:
        row = int(what) if what.isdecimal() else -1
        if not 0 <= row < len(vectors) or np.isnan(vectors[row, 0]):
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


def _cosines(vectors: NDArray[np.float16], one: NDArray[np.float32]) -> NDArray[np.float64]:
    one = one / max(float(np.linalg.norm(one)), 1e-12)
    parts = [vectors[at : at + ROWS].astype(np.float32) @ one for at in range(0, len(vectors), ROWS)]
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)
