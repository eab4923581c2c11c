"""What is said of recipes that can be read: what they name and is not there, what does not run here, what may not be meant; all of it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.cli import main
from curation_assets.recipes import RecipeError, parse_recipe
from curation_assets.remarks import Kind, remarks
from curation_assets.settings import Settings
from curation_assets_tests.publish.cutting.test_encoders import why_not

HEAD = "dataset: toy\nsource: {format: folder, path: films}\n"


def told(text: str, **settings: str) -> list[tuple[Kind, str]]:
    return [(r.kind, r.text) for r in remarks(parse_recipe(HEAD + text, "toy.yaml"), Settings(**settings))]


def faults(text: str) -> list[str]:
    return [said for kind, said in told(text) if kind is Kind.FAULT]


def test_files_that_are_named_and_not_there_are_all_told(tmp_path: Path) -> None:
    text = """
captions: {{backend: transformers, model: {at}/vlm, where: []}}
tracks: {{detector: onnx, model: {at}/boxes.onnx, vocabulary: {at}/words.txt}}
subsets:
  a: {{where: ["aesthetic > 5"], exclude: [{at}/ids.txt], split: {{lists: {{val: {at}/val.txt}}}}, export: {{clips: {{leak_model: {at}/yunet.onnx, blur_faces: true, blur_plates: {{model: {at}/plates.onnx}}}}}}}}
  b: {{of: tracks}}
embeddings: {{pretrained: {at}/clip.pt}}
"""
    found = faults(text.format(at=tmp_path))
    for name in ("vlm", "boxes.onnx", "words.txt", "ids.txt", "val.txt", "yunet.onnx", "plates.onnx", "clip.pt"):
        (said,) = [f for f in found if f"{tmp_path}/{name}" in f]
        assert any(word in said for word in ("set ", "give ", "correct ")), "it says what to do"
    assert len(found) == 8


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            "embeddings: {model: ViT-L-41}",
            "embeddings.model: open_clip has no architecture 'ViT-L-41'; near it are ViT-L-16, ViT-L-14",
        ),
        (
            "embeddings: {model: nosuchmodel}",
            "embeddings.model: open_clip has no architecture 'nosuchmodel'; open_clip.list_models() has all",
        ),
        (
            "embeddings: {pretrained: laion3b}",
            "weights of CLIP model ViT-L-14 are missing: 'laion3b' is neither a file nor a tag of that architecture (tags: openai, ",
        ),
        (
            "embeddings: {model: 'hf-hub:nosuchmodel'}",
            "weights of CLIP model hf-hub:nosuchmodel are missing: hf-hub: stands before the id of a repository",
        ),
        (
            "captions: {backend: transformers, model: nosuchmodel}",
            "weights of caption model nosuchmodel are missing: no such folder",
        ),
        (
            "captions: {backend: transformers, model: models/vlm/here}",
            "weights of caption model models/vlm/here are missing: no such folder",
        ),
        (
            "tracks: {detector: owlv2, model: nosuchmodel, vocabulary: coco}",
            "weights of owlv2 are missing: no folder nosuchmodel",
        ),
        (
            "tracks: {detector: onnx, model: nosuchmodel, vocabulary: coco}",
            "weights of the ONNX detector are missing: no file nosuchmodel",
        ),
        ("aesthetic: {head: nosuchmodel}", "weights of the aesthetic head are missing: no file nosuchmodel"),
    ],
)
def test_a_name_that_is_no_model_folder_or_file_is_told(section: str, said: str) -> None:
    (found,) = faults(f"{section}\nsubsets: {{a: {{}}}}\n")
    assert found.startswith(said)
    assert "set " in found or "give " in found


def test_labels_heads_and_lists_that_cannot_be_read_are_told_beside_the_rest(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text("no label\n")
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe")
    text = """
labels: {{file: {at}/labels.jsonl}}
aesthetic: {{head: {at}/head.pth}}
subsets: {{a: {{where: ["aesthetic > 5"], exclude: [{at}/ids.txt]}}}}
"""
    found = sorted(faults(text.format(at=tmp_path)))
    assert len(found) == 3
    assert found[0].startswith(f"labels: {tmp_path}/labels.jsonl line 1: not a label")
    assert found[1].startswith(f"subsets.a.exclude[0]: list of ids {tmp_path}/ids.txt is not text in UTF-8")
    assert found[2].startswith(f"weights of the aesthetic head are missing: no file {tmp_path}/head.pth")
    (folder,) = faults(f"labels: {{file: {tmp_path}}}\nsubsets: {{a: {{}}}}\n")
    assert folder.startswith("labels: ")
    assert str(tmp_path) in folder


def test_what_is_there_or_would_be_fetched_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    (tmp_path / "words.txt").write_text("dog\ncat\n")
    (tmp_path / "ids.txt").write_text("")
    hub = f"""
captions: {{backend: transformers, model: nobody/there, where: []}}
tracks: {{detector: owlv2, model: nobody/there, vocabulary: {tmp_path}/words.txt}}
subsets:
  a: {{where: ["aesthetic > 5"], exclude: [{tmp_path}/ids.txt]}}
  b: {{of: tracks}}
"""
    for model in (
        "ViT-L-14, pretrained: openai",
        "ViT-L/14",
        "ViT-B-32, pretrained: laion2b_s34b_b79k",
        "'hf-hub:nobody/there@v1.0'",
        "RN50, pretrained: 's3://weights/rn50.pt'",
    ):
        assert faults(f"{hub}embeddings: {{model: {model}}}\n") == []


def test_subsets_by_both_verdicts_are_doubted_where_copies_are_embedded() -> None:
    text = "concepts: {clusters: 2}\nsemantic_dedup: {}\nsubsets: {once: {where: [%s]}}\n"

    def doubts(where: str, further: str = "") -> list[str]:
        return [said for kind, said in told(text % where + further) if kind is Kind.DOUBT]

    (said,) = doubts("keep, semantic_keep")
    assert said.startswith("subsets.once.where: `keep` and `semantic_keep`")
    assert doubts("keep and semantic_keep") == [said]
    assert doubts("semantic_keep") == doubts("keep, semantic_keep", "embeddings: {where: [keep]}\n") == []


def test_of_an_encoder_it_is_told_that_it_does_not_open_and_what_it_does_not_encode() -> None:
    def said(options: str, **settings: str) -> list[tuple[Kind, str]]:
        return told(f"subsets: {{s: {{export: {{clips: {{{options}}}}}}}}}\n", **settings)

    ((kind, text),) = said("encoder: libx265")
    assert (kind, text.startswith("subsets.s.export.clips.encoder: libx265 encodes only")) == (Kind.DOUBT, True)
    assert said("encoder: libx265, cut: exact") == said("encoder: libx264") == []
    why = why_not("h264_nvenc")
    found = [text for kind, text in said("encoder: h264_nvenc") if kind is Kind.HERE]
    assert found == ([f"subsets.s.{why}"] if why else [])
    assert said("encoder: h264_nvenc", executor="k8s") == [], "pods of their own cut there"


def test_validate_fails_for_what_is_not_there_and_plan_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "toy.yaml"
    recipe.write_text(
        f"{HEAD}tracks: {{detector: onnx, model: {tmp_path}/none.onnx, vocabulary: no_such}}\nsubsets: {{b: {{of: tracks}}}}\n"
    )
    for name, value in (("CURATION_STORAGE", "data"), ("CURATION_RECIPES", "toy.yaml"), ("DAGSTER_HOME", "home")):
        monkeypatch.setenv(name, str(tmp_path / value))
    assert main(["validate", str(recipe)]) == 2
    found = capsys.readouterr()
    assert "can be used" not in found.out
    assert f"{recipe}: weights of the ONNX detector are missing: no file {tmp_path}/none.onnx" in found.err
    assert f"{recipe}: tracks.vocabulary: vocabulary 'no_such': No such file" in found.err
    assert main(["plan"]) == 0
    assert f"toy: weights of the ONNX detector are missing: no file {tmp_path}/none.onnx" in capsys.readouterr().err


def test_all_that_is_wrong_with_a_recipe_is_told_at_once() -> None:
    text = """
clips: {min_s: 9, max_s: 2, shots: 3, from: whole}
captions: {backend: openai}
subsets:
  a: {where: ["motoin > 1"], export: {clips: {preset: nosuch, encoder: hevc_nvenc, cut: copy, fps: 3}}}
  b: {where: ["sharpnes > 3"], select: {criterion: random, strict: true}, nonsense: 1}
  c: {where_tracks: ["score > 1"], export: {tracks: {}}}
"""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(HEAD + text, "toy.yaml")
    lines = str(caught.value).splitlines()
    for said in (
        "clips: min_s (9) must not exceed",
        "clips: `shots` is for",
        "captions: backend openai needs `model`",
        "captions: backend openai needs `url`",
        "subsets.a.export.clips: preset 'nosuch'",
        "subsets.a.export.clips: cut: copy encodes nothing",
        "subsets.a.export.clips: cut: copy leaves the stream",
        "subsets.b.select: criterion random needs `count`",
        "subsets.b.select: `strict` is for",
        "subsets.b.nonsense: unknown key",
        "subsets.c: export.tracks needs",
        "subsets.c: where_tracks needs",
        "subsets.a.where[0]: rule 'motoin > 1'",
        "subsets.b.where[0]: rule 'sharpnes > 3'",
    ):
        assert len([line for line in lines if line.startswith(f"toy.yaml: {said}")]) == 1, said
    assert len(lines) == 14


def test_rules_are_not_doubted_for_what_another_fault_hides() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(HEAD + "categories: {animal: 5}\nsubsets: {a: {where: [\"animal = 'dog'\"]}}\n", "toy.yaml")
    assert "subsets.a" not in str(caught.value)
