"""Frames of shard after shard through one model: whose vectors are whose, batches over borders, and what a fault of one costs the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation_assets.scores.embedding import embed_frames, load_model
from curation_assets.scores.embedding_line import EmbeddingLine
from curation_assets.scores.frame_embeddings import Embeddings
from curation_assets.scores.frame_reading import FrameReader, places_of
from curation_assets_tests.scores.test_clip_scores import frames_table, jpeg
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.clip_model import ClipModel
from curation_resources.media import MediaRef
from curation_resources.storage import Storage

BATCH = 8
SIZES = (5, 1, 0, 20, 11)
"""Frames of the shards."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    folder = write_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny", 32)
    return load_model(Embeddings(model=f"local-dir:{folder}", device="cpu", precision="fp32"))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


@pytest.fixture
def shards(storage: Storage) -> list[pa.Table]:
    pictures = [(f"v{s}", f"v{s}_0", t, jpeg(100 * s + t)) for s, n in enumerate(SIZES) for t in range(n)]
    frames = frames_table(storage, pictures)
    return [frames.filter(pc.equal(frames["video_id"], f"v{s}")) for s in range(len(SIZES))]


class Waiting(EmbeddingLine):
    """Encodes when it is told to, so that what is put before is one stream, whatever thread is quicker; notes the sizes of batches."""

    def __init__(self, model: ClipModel, storage: Storage) -> None:
        super().__init__(model, storage, BATCH)
        self.sizes: list[int] = []
        self._running = True

    def go(self) -> None:
        self._run()

    def _compute(self, current: list) -> None:  # type: ignore[type-arg]
        encode = self.model.encode_ahead

        def noted(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            for batch in batches:
                self.sizes.append(len(batch))
                yield from encode([batch])

        self.model.encode_ahead = noted  # type: ignore[method-assign]
        try:
            super()._compute(current)
        finally:
            del self.model.encode_ahead


def test_batches_run_over_the_borders_of_shards_and_each_gets_its_own_vectors(
    model: ClipModel, storage: Storage, shards: list[pa.Table]
) -> None:
    alone = [embed_frames(s, EmbeddingLine(model, storage, BATCH))[0] for s in shards]
    line = Waiting(model, storage)
    for number, shard in enumerate(shards):
        line.ahead(shard, f"d-{number}")
    line.go()
    assert line.sizes == [8, 8, 8, 8, 5], "one stream: only the last batch is short"
    for number, shard in enumerate(shards):
        table, stats = embed_frames(shard, line, f"d-{number}")
        assert stats.frames == stats.embedded == SIZES[number]
        assert table.select(["video_id", "time_ms"]).equals(alone[number].select(["video_id", "time_ms"]))
        for a, b in zip(table["embedding"].to_pylist(), alone[number]["embedding"].to_pylist(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)
    assert len(line.sizes) == 5, "nothing was computed twice"


def test_what_was_begun_of_other_frames_is_not_taken_for_these(
    model: ClipModel, storage: Storage, shards: list[pa.Table]
) -> None:
    line = EmbeddingLine(model, storage, BATCH)
    line.ahead(shards[0], "d-0")
    table, _ = embed_frames(shards[3], line, "d-0")
    assert table.equals(embed_frames(shards[3], EmbeddingLine(model, storage, BATCH))[0])


def test_a_line_that_broke_tells_whoever_waits_and_goes_on_with_the_next(
    model: ClipModel, storage: Storage, shards: list[pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ClipModel, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        next(iter(batches))
        raise RuntimeError("the device is lost")
        yield

    line = EmbeddingLine(model, storage, BATCH)
    with monkeypatch.context() as patched:
        patched.setattr(ClipModel, "encode_ahead", broken)
        with pytest.raises(RuntimeError, match="the device is lost"):
            embed_frames(shards[3], line, "d-3")
    table, stats = embed_frames(shards[3], line, "d-3")
    assert stats.embedded == len(table) == SIZES[3]


def test_a_line_that_is_stopped_ends_after_the_batch_that_it_computes(
    model: ClipModel, storage: Storage, shards: list[pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Waiting(model, storage)
    encoded = ClipModel._encoded

    def stopping(self: ClipModel, pixels: Any) -> Any:
        line.stop()
        return encoded(self, pixels)

    monkeypatch.setattr(ClipModel, "_encoded", stopping)
    line.ahead(shards[3], "d-3")
    line.go()
    assert line.sizes == [BATCH]
    assert not line.begun("d-3")


def test_a_frame_that_is_gone_costs_none_of_those_that_are_read_with_it(storage: Storage, model: ClipModel) -> None:
    """They lie in one range of a tar, which is read at once, until it cannot be."""
    frames = frames_table(storage, [("v", "v_0", t, jpeg(t)) for t in range(6)])
    places = places_of(frames, model.fit)
    reads: list[MediaRef] = []

    class Noting(Storage):
        def read_media(self, ref: MediaRef) -> bytes:
            reads.append(ref)
            return super().read_media(ref)

    reader = FrameReader.of(model, Noting(storage.root))
    whole, problems = reader.read(places)
    assert problems == [None] * 6
    assert len(reads) == 1
    for i, place in enumerate(places):
        np.testing.assert_array_equal(reader.read([place])[0][0], whole[i])
    beyond = places[4]._replace(size=places[4].size + 50_000)
    some, problems = reader.read([*places[:4], beyond, places[5]])
    assert [p is None for p in problems] == [True, True, True, True, False, True]
    np.testing.assert_array_equal(some[5], whole[5])
    backwards, problems = reader.read(places[::-1])
    assert problems == [None] * 6
    np.testing.assert_array_equal(backwards[::-1], whole)


def test_frames_that_are_all_gone_are_said_in_their_turn(
    model: ClipModel, storage: Storage, shards: list[pa.Table]
) -> None:
    """More batches of them than may be held, before, between and after others."""
    gone = shards[3].set_column(
        shards[3].column_names.index("tar"), shards[3].schema.field("tar"), pa.array(["no.tar"] * SIZES[3], pa.string())
    )
    many = pa.concat_tables([gone] * 12)
    line = EmbeddingLine(model, storage, 4)
    for number, shard in enumerate((many, shards[4], many, shards[0], many)):
        line.ahead(shard, str(number))
    for number, shard in enumerate((many, shards[4], many, shards[0], many)):
        table, stats = embed_frames(shard, line, str(number))
        there = number % 2 == 1
        assert (stats.failed, set(stats.faults)) == ((0, set()) if there else (len(shard), {"v3"}))
        assert table["embedding"].null_count == stats.failed
