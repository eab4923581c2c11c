"""Labels of people: what was said last counts, nothing that was said is lost, and what cannot be read is named by its line."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from curation_assets.publish.curating.subset_tables import read_ids
from curation_assets.recipes import RecipeError, load_recipes, parse_recipe
from curation_assets.scores.label_file import LabelError, LabelFile, Said
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.conftest import S3Server
from curation_resources.s3 import options_of_named_file, reach_named_files
from curation_resources.storage import Storage


@pytest.fixture
def bucket(s3_environment: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket that CURATION_S3_ENDPOINT alone says how to reach; file systems that others have made of another environment are not used."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    S3FileSystem.clear_instance_cache()
    yield s3_environment.bucket()
    S3FileSystem.clear_instance_cache()
    reach_named_files(None, None, None)


def test_settings_said_in_python_reach_what_recipes_name(
    bucket: str, s3_environment: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Labels, lists of ids and recipes in a bucket whose endpoint is in no environment."""
    said = [Said("a", "keep", True)]
    LabelFile(f"{bucket}/toy.jsonl").add(said)
    Storage(bucket, s3_environment.options).write("ids.txt", b"x\n")
    Storage(bucket, s3_environment.options).write("r.yaml", b"dataset: toy\nsource: {format: folder, path: v}\n")
    monkeypatch.delenv("CURATION_S3_ENDPOINT")
    S3FileSystem.clear_instance_cache()
    table_store(Settings(storage=str(tmp_path), s3_endpoint=s3_environment.endpoint))
    assert held(LabelFile(f"{bucket}/toy.jsonl")) == {"a": ["keep"]}
    assert read_ids([f"{bucket}/ids.txt"]) == {"x"}
    assert list(load_recipes(f"{bucket}/r.yaml")) == ["toy"]
    table_store(Settings(storage=str(tmp_path)))
    assert "endpoint_url" not in options_of_named_file(bucket)["client_kwargs"], "of the installation opened last"


@pytest.fixture(params=["folder", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "labels/toy.jsonl")
    return f"{request.getfixturevalue('bucket')}/labels/toy.jsonl"


def held(file: LabelFile) -> dict[str, list[str]]:
    return {clip: sorted(own) for clip, own in file.labels().items() if own}


def test_the_last_word_counts_and_all_are_kept(location: str) -> None:
    file = LabelFile(location)
    assert (held(file), file.identity()) == ({}, ""), "a file that is not there says nothing"
    file.add([Said("a", "keep", True, "me", "t1"), Said("b", "drop", True)])
    first = file.identity()
    file.add([Said("a", "keep", False, "you", "t2"), Said("a", "sports", True, "you", "t2")])
    assert held(LabelFile(location)) == {"a": ["sports"], "b": ["drop"]}
    assert file.labels()["a"]["sports"].who == "you"
    assert file.identity() != first
    file.add([Said("a", "sports", False), Said("a", "keep", True, "me", "t3")])
    assert file.identity() == first, "the same labels are the same, whoever gave them when"
    for name in ("Drop", "a b", "", "1st", "label.x"):
        with pytest.raises(LabelError, match="a label is a word"):
            file.add([Said("a", name, True)])


def test_what_somebody_else_put_in_the_same_moment_stays(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location = f"{bucket}/toy.jsonl"
    mine, other = LabelFile(location), LabelFile(location)
    other.add([Said("a", "keep", True)])
    look, said = mine._storage.read, []

    def read_and_be_overtaken(path: str) -> bytes:
        found = look(path)
        if not said:
            said.append(other.add([Said("b", "keep", True)]))
        return found

    monkeypatch.setattr(mine._storage, "read", read_and_be_overtaken)
    mine.add([Said("c", "keep", True)])
    assert held(mine) == {c: ["keep"] for c in "abc"}


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    location = str(tmp_path / "toy.jsonl")
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: LabelFile(location).add([Said(f"c{n}", "keep", True), Said(f"c{n}", "x", True)]), range(8)
            )
        )
    assert held(LabelFile(location)) == {f"c{n}": ["keep", "x"] for n in range(8)}


def test_a_line_that_was_begun_was_never_said_and_any_other_is_named(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    file = LabelFile(str(path))
    file.add([Said("a", "keep", True)])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert held(file) == {"a": ["keep"]}
    file.add([Said("c", "keep", True)])
    assert path.read_bytes().count(b"\n") == 2, "what was begun makes way"
    assert held(file) == {"a": ["keep"], "c": ["keep"]}
    path.write_bytes(whole + b'{"clip": "b", "label": "x"}\n')
    with pytest.raises(LabelError, match=r"l\.jsonl line 2: not a label; one is"):
        file.labels()
    path.write_bytes(whole[:-1])  # as some editors leave it
    file.add([Said("b", "drop", True)])
    assert held(file) == {"a": ["keep"], "b": ["drop"]}


def test_a_rule_that_names_a_label_needs_a_file() -> None:
    text = "dataset: toy\nsource: {format: ids, path: ids.txt}\nsubsets: {s: {where: ['not label.drop']}}\n"
    with pytest.raises(
        RecipeError,
        match=r"label\.drop is a label, and the recipe has no file of labels; add `labels: \{file: labels\.jsonl\}`",
    ):
        parse_recipe(text, "r")
    parse_recipe(f"{text}labels: {{file: l.jsonl}}\n", "r")
    with pytest.raises(RecipeError, match="true or false"):
        parse_recipe(f"{text}labels: {{file: l.jsonl}}\n".replace("not label.drop", "label.drop > 3"), "r")
