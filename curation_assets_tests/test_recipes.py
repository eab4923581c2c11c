"""Recipes: the five example recipes hold their systems' values; errors name file, key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from curation_assets.recipes import RecipeError, load_recipes, parse_recipe
from curation_assets.selection import assets_of_recipe

ROOT = Path(__file__).resolve().parents[1]
MINIMAL = "dataset: toy\nsource: {format: ids, path: ids.txt}\n"


def test_the_five_systems_load_with_their_values() -> None:
    r = load_recipes(str(ROOT / "recipes/examples"))
    assert sorted(r) == ["acav100m", "hdvila", "t2v_hq", "trackverse", "video_embeddings"]
    hdvila = r["hdvila"]
    assert (hdvila.clips.detector, hdvila.clips.threshold, hdvila.clips.min_scene_frames) == ("content", 11.5, 15)
    assert (hdvila.download.height, hdvila.download.audio_rate, hdvila.download.timeout_s) == (360, 44100, 60)
    assert hdvila.download.subtitles is not None
    assert hdvila.download.subtitles.languages == ["en"]
    assert hdvila.download.subtitles.automatic
    assert hdvila.shard.videos == 100
    assert (r["acav100m"].shard.videos, r["acav100m"].clips.from_, r["acav100m"].captions.backend) == (
        2000,
        "given",
        "source",
    )
    t2v = r["t2v_hq"]
    assert (t2v.clips.detector, t2v.clips.min_s, t2v.clips.max_s, t2v.dedup.method) == ("adaptive", 2, 20, "phash")
    assert {"aesthetic >= 4.5", "match >= 20"} <= set(t2v.subsets["hq"].where)
    tracks = r["trackverse"].tracks
    assert (
        tracks.fps,
        tracks.confidence,
        tracks.high,
        tracks.match,
        tracks.min_area,
        tracks.min_length_s,
        tracks.vocabulary,
    ) == (
        8,
        0.2,
        0.6,
        0.3,
        0.1,
        3,
        "lvis",
    )
    assert (r["trackverse"].clips.min_s, r["trackverse"].clips.max_s) == (3, 600)
    export = r["trackverse"].subsets["random_tracks"].export.clips
    assert export is not None
    assert export.blur_faces
    embeddings = r["video_embeddings"].subsets["ds"].export.embeddings
    assert embeddings is not None
    assert embeddings.per_tar == 10_000


def test_a_recipe_asks_for_the_assets_it_speaks_of() -> None:
    assert "text_scores" not in assets_of_recipe(parse_recipe(MINIMAL, "toy.yaml"))
    rich = MINIMAL + "captions: {where: ['text_area < 0.1']}\nsubsets: {a: {where: ['aesthetic > 4']}}\n"
    assets = assets_of_recipe(parse_recipe(rich, "toy.yaml"))
    assert {"text_scores", "captions", "aesthetic_scores", "frame_embeddings", "dedup"} <= set(assets)
    assert assets.index("frame_embeddings") < assets.index("aesthetic_scores")
    assert "tracks" not in assets


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dataset: toy\n", ["bad.yaml: source: required key is missing"]),
        ("- a\n", ["bad.yaml: a recipe is a mapping"]),
        ("dataset: [\n", ["bad.yaml line 2: not valid YAML"]),
        (MINIMAL.replace("toy", "To-y"), ["bad.yaml: dataset:", "'To-y'"]),
        (
            MINIMAL.replace("format: ids", "format: idz"),
            ["bad.yaml: source.format", "'hdvila'", "'webdataset'", "'idz'"],
        ),
        (MINIMAL + "clips: {min_s: 9, max_s: 3}\n", ["bad.yaml: clips: min_s (9) must not exceed max_s (3)"]),
        (MINIMAL + "frames: {fps: 0}\n", ["bad.yaml: frames.fps", "greater than 0", "got 0"]),
        (MINIMAL + "frames: {fsp: 1}\n", ["bad.yaml: frames.fsp: unknown key; allowed are fps, short_side, quality"]),
        (
            MINIMAL + "subsets: {hq: {export: {clips: {formt: x}}}}\n",
            ["bad.yaml: subsets.hq.export.clips.formt: unknown key; allowed are format, cut, crf"],
        ),
        (
            MINIMAL + "subsets: {hq: {where: ['keep', 'a >']}}\n",
            ["bad.yaml: subsets.hq.where[1]: rule 'a >': expected"],
        ),
        (MINIMAL + "captions: {backend: openai, model: m}\n", ["bad.yaml: captions: backend openai needs `url`"]),
        (MINIMAL + "subsets: {hq: {select: {criterion: random}}}\n", ["criterion random needs `count`"]),
        (MINIMAL + "frames: {fps: 0}\nmotion: {fps: -1}\n", ["bad.yaml: frames.fps", "\nbad.yaml: motion.fps"]),
    ],
)
def test_errors_name_file_key_and_what_is_allowed(text: str, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "bad.yaml")
    for part in parts:
        assert part in str(caught.value)


def test_recipes_come_from_a_file_a_folder_or_a_uri(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MINIMAL)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.yaml").write_text("not: a recipe")
    assert list(load_recipes(str(tmp_path))) == ["toy"], "folders are not searched deeper"
    assert list(load_recipes(str(tmp_path / "a.yaml"))) == ["toy"]
    with fsspec.open("memory://recipes/a.yaml", "w") as file:
        file.write(MINIMAL)
    assert list(load_recipes("memory://recipes")) == ["toy"]
    (tmp_path / "c.yml").write_text(MINIMAL)
    with pytest.raises(RecipeError, match=r"c\.yml: dataset 'toy' is already declared by .*a\.yaml"):
        load_recipes(str(tmp_path))
    with pytest.raises(RecipeError, match="no such file or folder; set CURATION_RECIPES"):
        load_recipes(str(tmp_path / "nothing"))
