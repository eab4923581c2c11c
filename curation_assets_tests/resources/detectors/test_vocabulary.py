"""Vocabularies: the shipped ones are the datasets', users' own are read in two forms, and mistakes are told in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation_assets_tests.shared_data import shared
from curation_resources.detectors.vocabulary import VocabularyError, load_vocabulary, spoken


def test_lvis_is_the_published_list_in_the_order_of_its_ids() -> None:
    published = shared("metadata/lvis_v1_train_cat_info.json")
    names = load_vocabulary("lvis")
    assert len(names) == 1203
    assert names == load_vocabulary(str(published))


def test_coco_has_its_80_names() -> None:
    names = load_vocabulary("coco")
    assert (len(names), names[0], names[17], names[79]) == (80, "person", "horse", "toothbrush")


def test_a_users_file(tmp_path: Path) -> None:
    lines = tmp_path / "mine.txt"
    lines.write_text("\ufeff# pets\ncat\n\n  big dog  \nÖffner\n", encoding="utf-8")
    assert load_vocabulary(str(lines)) == ("cat", "big dog", "Öffner")
    as_json = tmp_path / "mine.json"
    as_json.write_text(json.dumps({"categories": [{"id": 2, "name": "b"}, {"id": 1, "name": "a"}]}))
    assert load_vocabulary(str(as_json)) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("", "has no names"), ("cat\ncat\n", "'cat' more than once"), ('[{"title": "x"}]', "not JSON as LVIS writes it")],
)
def test_mistakes_name_the_file(tmp_path: Path, text: str, wanted: str) -> None:
    file = tmp_path / "bad.txt"
    file.write_text(text)
    with pytest.raises(VocabularyError, match=wanted) as error:
        load_vocabulary(str(file))
    assert "bad.txt" in str(error.value)


def test_a_missing_file_says_what_is_allowed() -> None:
    with pytest.raises(VocabularyError, match="give lvis, coco, faces or the path"):
        load_vocabulary("nowhere.txt")


def test_names_are_spoken_without_underscores() -> None:
    assert spoken("bow_(decorative_ribbons)") == "bow (decorative ribbons)"
