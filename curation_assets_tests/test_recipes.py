"""Recipes: the five example recipes hold their systems' values; errors name file, key and what is allowed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import fsspec
import pytest

from curation_assets.recipes import RecipeError, load_recipes, parse_recipe, read_recipes
from curation_assets.selection import assets_of_recipe

ROOT = Path(__file__).resolve().parents[1]
MINIMAL = "dataset: toy\nsource: {format: ids, path: ids.txt}\n"


def test_the_five_systems_load_with_their_values() -> None:
    r = load_recipes(str(ROOT / "recipes/examples"))
    assert sorted(r) == ["acav100m", "hdvila", "hdvila_videos", "t2v_hq", "trackverse", "video_embeddings"]
    hdvila = r["hdvila"]
    assert (hdvila.clips.detector, hdvila.clips.threshold, hdvila.clips.min_scene_frames) == ("content", 11.5, 15)
    assert (hdvila.download.height, hdvila.download.audio_rate, hdvila.download.timeout_s) == (360, 44100, 60)
    assert hdvila.download.subtitles is not None
    assert hdvila.download.subtitles.languages == ["en"]
    assert hdvila.download.subtitles.automatic
    assert hdvila.shard.videos == 100
    whole = r["hdvila_videos"]
    assert (whole.clips.from_, whole.clips.cuts, whole.clips.threshold) == ("whole", True, 11.5)
    assert whole.download == hdvila.download
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
        0.7,
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
        (
            MINIMAL + "frames: {fsp: 1}\n",
            ["bad.yaml: frames.fsp: unknown key; did you mean fps? allowed are fps, short_side, quality"],
        ),
        (
            MINIMAL + "subsets: {hq: {export: {clips: {formt: x}}}}\n",
            [
                "bad.yaml: subsets.hq.export.clips.formt: unknown key; did you mean format? allowed are format, cut, encoder, crf"
            ],
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
    with pytest.raises(
        RecipeError,
        match="no such file or folder; name a recipe file or a folder of recipes, here or in CURATION_RECIPES",
    ):
        load_recipes(str(tmp_path / "nothing"))


PROMPTS = "categories: {style: {prompts: [cartoon, photo]}}\n"
LONG_NAMES = PROMPTS.replace("photo", "photo, a video game")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("subsets: {a: {where: [keep, 'motin > 0.1']}}", ["bad.yaml: subsets.a.where[1]", "'motin'", "mean motion?"]),
        ("captions: {where: 'text_boxes <= 3'}", ["bad.yaml: captions.where[0]", "text_boxes is list<"]),
        ("tracks: {where: ['caption > 3']}", ["tracks.where[0]", "caption is text, not a number"]),
        ("text: {where: [motion]}", ["text.where[0]", "motion is not true or false"]),
        ("embeddings: {where: ['motion > p20']}", ["embeddings.where[0]", "percentiles are for subsets"]),
        ("subsets: {a: {where: ['blank < 90']}}", ["blank goes from 0 to 1", "90 is beyond"]),
        ("subsets: {a: {where: ['motion >= -1']}}", ["motion goes from 0 up"]),
        ("subsets: {a: {where: ['motion between 0.2 and 0.002']}}", ["the lower end of `between`"]),
        ("subsets: {a: {where: ['origin = \"detectd\"']}}", ["origin is never 'detectd'; did you mean detected?"]),
        ("subsets: {a: {where: ['language = en']}}", ["en is no column; if it is a text, quote it"]),
        ("subsets: {a: {where: ['height in [720, 1080.5]']}}", ["height holds whole numbers, never 1080.5"]),
        ("subsets: {a: {where: ['language in []']}}", ["the list of language is empty"]),
        ("subsets: {a: {where: ['keep > 0']}}", ["keep is true or false, not a number"]),
        ("subsets: {a: {where: ['not not (keep and motin > 1)']}}", ["did you mean motion?"]),
        (PROMPTS + "subsets: {a: {where: ['style.carton < 0.5']}}", ["no category 'carton'; did you mean cartoon?"]),
        (PROMPTS + "subsets: {a: {where: ['stile.cartoon < 0.5']}}", ["prompt set 'stile'; did you mean style?"]),
        (
            PROMPTS + "subsets: {a: {where: ['style = \"foto\"']}}",
            ["style is never 'foto'; did you mean photo? there are cartoon, photo"],
        ),
        (
            PROMPTS + "subsets: {a: {where: ['style = carton']}}",
            ["style is never 'carton'", "there are cartoon, photo"],
        ),
        (PROMPTS + "subsets: {a: {where: ['style.carton.match > 20']}}", ["no category 'carton'", "cartoon, photo"]),
        (
            PROMPTS + "subsets: {a: {where: ['style.photo.mach > 20']}}",
            ["rules know probability and match, not 'mach'"],
        ),
        (PROMPTS + "subsets: {a: {where: ['style.photo.match > 120']}}", ["goes from -100 to 100"]),
        (PROMPTS + "subsets: {a: {where: ['style.photo.probability > 1']}}", ["so that it is never > 1"]),
        (
            PROMPTS + "captions: {where: ['style.photo.probability >= 20']}",
            ["style.photo.probability goes from 0 to 1"],
        ),
        ("subsets: {a: {where: ['width * keep > 3']}}", ["keep is true or false, which cannot be calculated with"]),
        ("subsets: {a: {where: ['width * height >= -5']}}", ["width * height goes from 1 up", "-5 is beyond"]),
        ("subsets: {a: {where: ['text_box_area * 2 > 2']}}", ["text_box_area * 2 goes from 0 to 2"]),
        ("subsets: {a: {where: ['motion / (1 + motin) > 1']}}", ["did you mean motion?"]),
        ("subsets: {a: {where: ['caption > width - 1']}}", ["caption is text and width - 1 is a number"]),
        ("subsets: {a: {where: ['text_box_area > 1.5']}}", ["goes from 0 to 1"]),
        (
            "tracks: {detector: owlv2, model: x, vocabulary: coco}\nsubsets: {a: {of: tracks, where_tracks: ['label in [dgo]']}}",
            ["label is never 'dgo'; did you mean dog?"],
        ),
        (
            "subsets: {a: {select: {criterion: random, count: 3, per_class: 2}}}",
            ["subsets.a.select", "criterion random does not look at `per_class`"],
        ),
        ("subsets: {a: {select: {count: 3}}}", ["criterion all does not look at `count`"]),
        (
            "subsets: {a: {select: {criterion: min_redundancy, per_class: 3, count: 9}}}",
            ["min_redundancy does not look at `count`"],
        ),
        (
            "subsets: {a: {select: {criterion: random, count: 3, strict: true}}}",
            ["`strict` is for criterion video_balanced"],
        ),
        (
            "subsets: {a: {select: {criterion: class_balanced, per_class: 3, class_by: lable}}}",
            ["bad.yaml: subsets.a.select.class_by", "'lable'"],
        ),
        (
            "subsets: {a: {of: tracks, select: {criterion: class_balanced, per_class: 3, order_by: label}}}",
            ["subsets.a.select.order_by: label is text"],
        ),
        (
            "subsets: {a: {of: tracks, where_tracks: ['lenght_s > 3']}}",
            ["subsets.a.where_tracks[0]", "did you mean length_s?"],
        ),
        ("captions: {where: ['match > 20']}", ["would be made from itself", "captions.where 'match > 20'"]),
        (
            "text: {where: ['aesthetic > 4']}\nembeddings: {where: ['text_area < 0.1']}",
            ["would be made from itself", "text.where", "embeddings.where"],
        ),
    ],
)
def test_rules_that_cannot_be_right_are_found_when_the_recipe_is_loaded(text: str, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(f"{MINIMAL}{text}\n", "bad.yaml")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "rule",
    [
        "keep",
        "not keep or motion is null",
        "motion >= 0",
        "0.5 > blank",
        "origin in [detected, split]",
        "licence = title",
        "start_frame < end_frame",
        "text_boxes is not null",
        "aesthetic between p10 and p90",
        "duration_s >= 2 and aspect > 1.3",
        "width * height >= 500000 and file_size / duration_s < 2e6 and bit_rate > 1000",
        "text_box_count <= 3 and text_box_area < 0.1 and frame_count >= 16 and pixels >= 100",
        "video_codec not in [av1, vp9] and container is not null",
        "source.views / duration_s > p50 and (width - height) / width < 0.5",
        "frame_count / -2 <= -8 and motion - 1 < -0.5",
        "style = 'cartoon' or style.photo >= 1",
        "style.photo.match >= 20 and style.'a video game'.match < 25 and style.'a video game' <= 0.1",
        "keep = true",
    ],
)
def test_rules_that_can_be_right_are_let_through(rule: str) -> None:
    parse_recipe(f'{MINIMAL}{LONG_NAMES}subsets: {{a: {{where: ["{rule}"]}}}}\n', "good.yaml")


def test_a_rule_about_a_dataset_that_is_drawn_on_is_held_against_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{MINIMAL}subsets: {{all: {{datasets: [web], where: ['style.photo > 0.5']}}}}\n")
    (tmp_path / "b.yaml").write_text(MINIMAL.replace("toy", "web") + PROMPTS)
    assert sorted(load_recipes(str(tmp_path))) == ["toy", "web"]
    (tmp_path / "b.yaml").write_text(MINIMAL.replace("toy", "web"))
    with pytest.raises(RecipeError, match=r"a\.yaml: subsets\.all\.where\[0\].*'style'"):
        load_recipes(str(tmp_path))


def test_of_a_folder_the_recipes_that_can_be_used_go_on_without_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MINIMAL.replace("toy", "bad") + "subsets: {s: {where: 'motin > 1'}}\n")
    (tmp_path / "b.yaml").write_text(MINIMAL + "subsets: {both: {datasets: [bad, toy]}, own: {where: keep}}\n")
    (tmp_path / "c.yaml").write_text("dataset: [\n")
    (tmp_path / "d.yaml").write_bytes(b"dataset: caf\xe9\n")
    found = read_recipes(str(tmp_path))
    assert {n: list(r.subsets) for n, r in found.usable.items()} == {"toy": ["own"]}
    messages = "\n".join(f.message for f in found.faults)
    for part in ("did you mean motion?", "c.yaml line 2", "d.yaml: is not UTF-8 text", "toy-both is left out", "bad"):
        assert part in messages
    assert [f.dataset for f in found.faults] == ["bad", None, None, "toy"]
    with pytest.raises(RecipeError, match="did you mean motion"):
        read_recipes(str(tmp_path / "a.yaml"))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 200000 values, once its aliases are unfolded"),
        ("a: " + "[" * 3000 + "]" * 3000, "more than 40 levels of nesting"),
        ("a: &a\n  b: *a\n", r"line 2: the alias \*a stands within"),
        (f"{MINIMAL}clips: {{min_s: 1, max_s: 5, min_s: 2}}\n", "line 3: the key 'min_s' is given twice"),
        (f"{MINIMAL}dataset: other\n", "line 3: the key 'dataset' is given twice"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("a: !!int ''\n", "a value cannot be read"),
        (f"a: {'9' * 5000}\n", "a value cannot be read"),
        ("a: \x00\n", "not valid YAML: special characters"),
        ("? [a, b]\n: 1\n", "a key must be a word"),
        (f"{MINIMAL}subsets: {{a: {{where: ['{'(' * 3000}keep{')' * 3000}']}}}}\n", "joins more than 200 parts"),
    ],
)
def test_clumsy_and_hostile_yaml_gets_one_sentence(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        parse_recipe(text, "bad.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_anchors_and_merges_work() -> None:
    text = f"{MINIMAL}subsets:\n  a: &a {{where: [keep], select: {{seed: 1}}}}\n  b: {{<<: *a, select: {{seed: 2}}}}\n"
    recipe = parse_recipe(text, "good.yaml")
    assert (recipe.subsets["b"].where, recipe.subsets["b"].select.seed) == (["keep"], 2)
