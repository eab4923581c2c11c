"""What a list is taken for by `curation init`: real lists of others are read by the recipe that it writes, and nothing is guessed that the cells contradict."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.cli import main
from curation_assets.ingest.sources import RejectedLine, SourceError, SourceRow, read_source
from curation_assets.ingest.sources.guessed import guessed_list
from curation_assets.recipes import read_recipes
from curation_assets_tests.shared_data import shared

WEBVID = {"id": "videoid", "url": "contentUrl", "caption": "name"}


@pytest.mark.parametrize(
    ("file", "format_", "columns", "rows"),
    [
        ("webvid_rows.csv", "table", WEBVID, 20),
        ("test_yt.csv", "table", WEBVID, 3),
        ("hdvila_readme_row.jsonl", "hdvila", {}, 1),
        ("acav100m_output.csv", "acav", {}, 3),
        (
            "video2dataset_youtube_rows.parquet",
            "table",
            {"id": "videoID", "url": "videoLoc", "title": "title", "caption": "description", "start": "start", "end": "end"},
            40,
        ),
    ],
)  # fmt: skip
def test_a_published_list_is_read_as_init_takes_it(
    file: str,
    format_: str,
    columns: dict[str, str],
    rows: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    assert main(["init", str(shared(f"metadata/{file}")), "--dataset", "mine"]) == 0
    recipe = read_recipes("recipes").usable["mine"]
    assert recipe.source.format == format_
    named = {k: c for k, c in recipe.source.columns.model_dump().items() if isinstance(c, str)}
    assert named == columns
    found = list(read_source(recipe.source))
    assert len(found) == rows
    assert not [r for r in found if isinstance(r, RejectedLine)]
    spans = [r.spans for r in found if isinstance(r, SourceRow)]
    given = format_ != "table" or "start" in columns
    assert all(bool(own) == given for own in spans)
    assert recipe.clips.from_ == ("given" if given else "detect")


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("semicolons.csv", "YoutubeID;Start_timestamp;End_timestamp;Caption\na;0:01;0:03;b, c\n", ("id", "caption", "start", "end")),
        ("no_end.csv", "url,start\nhttp://h/a.mp4,1\n", ("url",)),
        ("numbered.csv", "id,url\n0,http://h/a.mp4\n1,http://h/b.mp4\n", ("url",)),
        ("named.csv", "id,url\nk7,http://h/a.mp4\n", ("id", "url")),
        ("no_spans.jsonl", '{"url": "http://h/a.mp4", "timestamp": "2024-01-01"}\n', ("url",)),
        ("panda.csv", 'videoID,url,timestamp,caption\na,http://h/a.mp4,"[[\'0:00:01.0\', \'0:00:03.5\']]","[\'x\']"\n', ("id", "url", "caption", "clips")),
        ("times.csv", "path,start_ms,end_ms\na.mp4,1000,2500\n", ("url", "start", "end")),
        ("files.csv", "Clip ID;File Path;License/Type\nk7;a.mp4;own\nk8;b.mp4;\n", ("id", "url", "licence")),
        ("parts.csv", "clip_id,path\nk7,a.mp4\nk7,b.mp4\n", ("url",)),
        ("strange.csv", "a,b\n1,2\n", ()),
    ],
)  # fmt: skip
def test_columns_are_told_by_their_names_and_cells(
    tmp_path: Path, name: str, text: str, columns: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(text)
    found = guessed_list(str(tmp_path / name))
    assert (found.format, tuple(found.columns)) == ("table", columns)
    assert found.time_unit == ("ms" if name == "times.csv" else "s")


def test_a_list_that_says_nothing_is_not_guessed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    for name in ("empty.csv", "empty.jsonl", "broken.parquet"):
        (tmp_path / name).write_text("")
        with pytest.raises(SourceError, match=name):
            guessed_list(str(tmp_path / name))
        assert main(["init", name]) == 2
        assert name in capsys.readouterr().err
    (tmp_path / "strange.csv").write_text("a,b: c #d\n1,2\n")
    assert main(["init", "strange.csv"]) == 0
    assert "recipes/strange.yaml: say there which columns of the list mean what" in capsys.readouterr().out
    text = (tmp_path / "recipes/strange.yaml").read_text()
    assert "# columns: {id: id, url: url" in text
    assert "the list has a, b: c #d" in text
    assert read_recipes("recipes").usable["strange"].source.columns.url is None
