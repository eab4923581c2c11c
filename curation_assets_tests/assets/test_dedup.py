"""The comparison spans datasets: what holds where their recipes differ, and what the pictures of an audit show."""

from __future__ import annotations

import io
import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dagster import AssetKey
from PIL import Image

from benchmarks.copies import read_footage, write_footage
from curation_assets.dedup.comparison import clusters_params, embedding_cosine
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.definitions import table_store
from curation_assets.recipes import Recipe, RecipeError, parse_recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.showing.clips import same_moments
from curation_assets_tests.installation import Installation
from curation_assets_tests.shared_data import shared
from curation_resources.provenance import Provenance


def _recipe(dataset: str, dedup: str = "{}") -> Recipe:
    return parse_recipe(f"dataset: {dataset}\nsource: {{format: folder, path: videos}}\ndedup: {dedup}\n", dataset)


def test_parameters_do_not_depend_on_the_order_of_recipes() -> None:
    recipes = [
        _recipe("a", "{distance: 8, coverage: 0.7, center: false, frames: 5, step: 2}"),
        _recipe("b", "{agree: 12, matches: 3, flipped: true, confirm_cosine: 0.8}"),
        _recipe("c", "{agree: 16, coverage: 0.5, survivor: first_seen, confirm_cosine: 0.9, fps: 5}"),
    ]
    for order in permutations(recipes):
        assert clusters_params({r.dataset: r for r in order}) == Dedup(
            distance=8,
            matches=3,
            agree=12,
            coverage=0.7,
            center=True,
            flipped=True,
            confirm_cosine=0.9,
            survivor="first_seen",
        )


def test_parameters_of_one_recipe_and_of_none() -> None:
    alone = "{method: dhash, agree: 16, coverage: 0.5, center: false}"
    assert clusters_params({"a": _recipe("a", alone)}) == Dedup(method="dhash", agree=16, coverage=0.5, center=False)
    assert clusters_params({}) == Dedup()


def test_hashes_of_different_methods_are_refused() -> None:
    with pytest.raises(RecipeError, match="datasets a and b hash by dhash and phash"):
        clusters_params({"a": _recipe("a", "{method: dhash}"), "b": _recipe("b")})


def test_embeddings_of_different_models_say_nothing_of_a_pair(tmp_path: Path) -> None:
    store = table_store(Settings(storage=str(tmp_path)))

    def add(dataset: str, model: str, vectors: dict[str, list[float]]) -> None:
        ids = [{"dataset": dataset, "video_id": c, "clip_id": c} for c in vectors]
        rows = [i | {"time_ms": 0, "frame": 0, "model": model, "embedding": vectors[i["clip_id"]]} for i in ids]
        table = pa.Table.from_pylist(rows, schema("frame_embeddings").arrow)
        store.commit("frame_embeddings", f"{dataset}-00000", table, Provenance("1"))

    add("a", "small", {"x": [1.0, 0.0], "y": [0.6, 0.8]})
    add("b", "small", {"x": [0.0, 1.0]})
    add("c", "large", {"x": [1.0, 0.0, 0.0]})
    pairs = [("a", "x", "a", "y"), ("a", "y", "b", "x"), ("a", "x", "c", "x"), ("b", "x", "d", "x")]
    sides = [pa.table({"dataset": [p[i] for p in pairs], "clip_id": [p[i + 1] for p in pairs]}) for i in (0, 2)]
    assert embedding_cosine(store)(*sides) == pytest.approx([0.6, 0.8, np.nan, np.nan], abs=1e-3, nan_ok=True)
    some = [side.slice(1, 1) for side in sides]
    assert embedding_cosine(store)(*some) == pytest.approx([0.8], abs=1e-3), "of one clip that others lie beside"
    nothing = [side.slice(0, 0) for side in sides]
    assert embedding_cosine(store)(*nothing).tolist() == []


def _sampled(*times: int) -> pa.Table:
    return pa.table({"time_ms": pa.array(times, pa.int64())})


def test_moments_are_shown_by_the_frames_nearest_each_other() -> None:
    def shown(a: pa.Table, b: pa.Table, times_a: list[int], times_b: list[int]) -> list[tuple[int, int, int]]:
        return [(x["time_ms"], y["time_ms"], away) for x, y, away in same_moments(a, b, times_a, times_b)]

    whole, part = _sampled(0, 1000, 2000, 3000, 4000, 5000, 6000), _sampled(0, 700, 1000, 2000)
    assert shown(part, whole, [240, 1200, 2160], [2540, 3500, 4460]) == [(700, 3000, 0), (2000, 4000, 300)]
    assert shown(whole, part, [2540, 3500, 4460], [240, 1200, 2160]) == [(3000, 700, 0), (4000, 2000, 300)]
    faster = _sampled(0, 500, 1000, 1500)
    assert shown(faster, whole, [200, 1000, 1800], [400, 2000, 3600]) == [(500, 1000, 0), (1500, 3000, 0)]
    assert shown(_sampled(0), _sampled(0), [100, 500, 900], [100, 500, 900]) == [(0, 0, 0)]
    assert shown(_sampled(), whole, [100, 500, 900], [100, 500, 900]) == []


def test_a_part_is_pictured_beside_the_same_moments_of_the_whole(tmp_path: Path) -> None:
    footage = read_footage(shared("panda/8glWcEuxw3U.1.mp4"), 7)
    (tmp_path / "videos").mkdir()
    write_footage(footage, tmp_path / "videos/whole.mp4")
    write_footage(footage.between(2730), tmp_path / "videos/part.mp4")
    site = Installation(tmp_path)
    site.declare(f"dataset: d\nsource: {{format: folder, path: {tmp_path}/videos}}\nclips: {{from: whole}}\n")
    assert site.run("index")
    site.settle()
    record = site.instance.get_latest_materialization_event(AssetKey("duplicate_clusters"))
    assert record is not None
    assert record.asset_materialization is not None
    shown = record.asset_materialization.metadata["closest_pairs"].value
    assert re.search(r"\| 1 \| same \| .* \| part_0_\d+ \| whole_0_\d+ \|", shown)
    jpeg = site.store.storage.read("duplicate_clusters/sheet.jpg")
    sheet = np.asarray(Image.open(io.BytesIO(jpeg)).convert("L"), float)
    one, same, other, same_as_other = np.split(sheet, 4, axis=1)
    alike = [np.abs(a - b)[:60].mean() for a, b in ((one, same), (other, same_as_other))]
    unlike = [np.abs(a - b)[:60].mean() for a, b in ((one, same_as_other), (other, same))]
    assert max(alike) < 0.6 * min(unlike)
