"""Files of one's own as they lie about: behind links, in older encodings, in tars made without sorting, and named by lists."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.fetch_plan import ShardVideos
from curation_assets.ingest.fetching import build_raw_shard
from curation_assets.ingest.indexing import plan_index
from curation_assets.ingest.normal_form import video_metadata_table
from curation_assets.ingest.sources import RejectedLine, SourceRow, read_source
from curation_assets.ingest.sources.list_paths import located
from curation_assets.ingest.text_encodings import EncodingError, text_of
from curation_assets.recipes import Recipe
from curation_assets.source_watch import Page, SourceWatch, look
from curation_assets_tests.ingest.sources.test_stored import add, packed
from curation_assets_tests.sample_video import sample_video
from curation_resources.media import MediaRef
from curation_resources.storage import Storage


def read(format: str, *path: str | Path, **options: Any) -> list[SourceRow | RejectedLine]:
    source = Source.model_validate({"format": format, "path": [str(p) for p in path], **options})
    return list(read_source(source))


def rows(found: list[SourceRow | RejectedLine]) -> list[SourceRow]:
    return [row for row in found if isinstance(row, SourceRow)]


def test_links_to_files_sidecars_lists_and_folders_are_followed(tmp_path: Path) -> None:
    real, shown = tmp_path / "real", tmp_path / "shown"
    (real / "deep").mkdir(parents=True)
    shown.mkdir()
    (real / "one.mp4").write_bytes(b"one")
    (real / "words").write_text("said of one")
    (real / "deep" / "two.mp4").write_bytes(b"two")
    (real / "deep" / "again").symlink_to(real)
    (shown / "one.mp4").symlink_to(real / "one.mp4")
    (shown / "one.txt").symlink_to("../real/words")
    (shown / "folder").symlink_to(real / "deep")
    (shown / "self").symlink_to(shown)
    (shown / "round").symlink_to("round")
    (shown / "lost.mp4").symlink_to("nowhere")
    found = {row.location: row for row in rows(read("folder", shown))}
    assert set(found) == {"one.mp4", "folder/two.mp4", "folder/again/one.mp4"}
    one = found["one.mp4"]
    assert one.caption == "said of one"
    assert Storage(str(tmp_path)).read_media(MediaRef(**one.extra["media"])) == b"one"
    (real / "one.mp4").write_bytes(b"one anew")
    assert rows(read("folder", shown))[0].extra["media"]["etag"] != one.extra["media"]["etag"]

    (tmp_path / "lists").mkdir()
    (real / "videos.csv").write_text("url\nhttp://h/a.mp4\n")
    (tmp_path / "lists" / "a.csv").symlink_to(real / "videos.csv")
    (tmp_path / "linked").symlink_to(tmp_path / "lists")
    for path in (
        tmp_path / "lists",
        tmp_path / "lists" / "*.csv",
        tmp_path / "l*" / "a.csv",
        tmp_path / "**" / "a.csv",
    ):
        assert {r.url for r in rows(read("table", path, columns={"url": "url"}))} == {"http://h/a.mp4"}


def test_the_source_sensor_sees_changes_behind_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "v.mp4").write_bytes(b"1")
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "inner").symlink_to(tmp_path / "real")
    (tmp_path / "shown" / "round").symlink_to("round")
    source = {"format": "folder", "path": str(tmp_path / "shown"), "settle_s": 0}
    recipe = Recipe.model_validate({"dataset": "d", "source": source})
    storage = Storage(str(tmp_path))

    def seen() -> str:
        return look(recipe, SourceWatch(), storage, Page(1000), time.time())[0].last

    first = seen()
    assert seen() == first
    (tmp_path / "real" / "v.txt").write_text("words")
    second = seen()
    assert second != first
    (tmp_path / "real" / "v.mp4").write_bytes(b"22")
    assert seen() not in (first, second)


def test_lists_name_files_relative_to_themselves_or_to_a_root(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(sample_video(0.5, audio=False, seed=ord(name)))
    (tmp_path / "lists" / "a.mp4").write_bytes(sample_video(0.5, audio=False, seed=7))
    listing = tmp_path / "lists" / "l.csv"
    uri = (tmp_path / "videos" / "b.mp4").as_uri()
    listing.write_text(f"path,text\na.mp4,beside\n../videos/a.mp4,below\n{uri},uri\ngone.mp4,gone\n")
    columns = {"url": "path", "caption": "text"}

    def raw(source: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
        recipe = Recipe.model_validate({"dataset": "d", "source": {"format": "table", "columns": columns, **source}})
        plan_index(recipe, None, tmp_path / "index.parquet")
        metadata = video_metadata_table(pq.read_table(tmp_path / "index.parquet"))
        table = build_raw_shard(
            ShardVideos(metadata, recipe.download, local_lists=True),
            Storage(str(tmp_path / "data")),
            "raw_shards/d-00000",
        ).table
        captions = dict(zip(metadata["video_id"].to_pylist(), metadata["caption"].to_pylist(), strict=True))
        return {captions[r["video_id"]] or r["video_id"]: (r["status"], r["tar"]) for r in table.to_pylist()}

    found = raw({"path": str(listing)})
    assert found["beside"] == ("ok", str(tmp_path / "lists" / "a.mp4"))
    assert found["below"] == ("ok", str(tmp_path / "videos" / "a.mp4"))
    assert found["uri"] == ("ok", str(tmp_path / "videos" / "b.mp4"))
    assert found["gone"] == ("failed", None)
    listing.write_text("path,text\na.mp4,rooted\n../lists/a.mp4,outside\n")
    found = raw({"path": str(listing), "root": str(tmp_path / "videos")})
    assert found.pop("rooted") == ("ok", str(tmp_path / "videos" / "a.mp4"))
    assert [status for status, _ in found.values()] == ["rejected"]


def test_a_file_of_a_list_that_is_not_there_is_gone_but_not_where_its_disk_is_away(tmp_path: Path) -> None:
    """A list with dead lines is published without them; a folder that is not mounted stops that, and is asked again."""
    videos, away = tmp_path / "videos", tmp_path / "away"
    for folder in (videos, away):
        folder.mkdir()
    (videos / "a.mp4").write_bytes(sample_video(0.5, audio=False))
    (tmp_path / "l.csv").write_text("path\nvideos/a.mp4\nvideos/b.mp4\naway/c.mp4\nnowhere/d.mp4\n")
    source = {"format": "table", "columns": {"url": "path"}, "path": str(tmp_path / "l.csv")}
    recipe = Recipe.model_validate({"dataset": "d", "source": source})
    plan_index(recipe, None, tmp_path / "index.parquet")
    metadata = video_metadata_table(pq.read_table(tmp_path / "index.parquet"))
    storage = Storage(str(tmp_path / "data"))

    def classes(previous: pa.Table | None = None) -> tuple[pa.Table, list[str | None]]:
        shard = ShardVideos(metadata, recipe.download, local_lists=True)
        table = build_raw_shard(shard, storage, "raw_shards/d-00000", previous).table
        found = {Path(r["url"]).name: r["error_class"] for r in table.to_pylist()}
        return table, [found[f"{name}.mp4"] for name in "abcd"]

    table, found = classes()
    assert found == [None, "gone", "storage", "storage"]
    (videos / "b.mp4").write_bytes(sample_video(0.5, audio=False, seed=2))
    assert classes(table)[1] == [None, None, "storage", "storage"], "what is gone is looked for where the shard is made"


@pytest.mark.parametrize("root", [None, "/etc"])
def test_a_list_that_came_over_the_network_never_names_local_files(tmp_path: Path, root: str | None) -> None:
    with fsspec.open(f"memory://{tmp_path.name}/l.csv", "wb") as file:
        file.write(b"path\n/etc/hostname\nfile:///etc/hostname\n../../etc/hostname\nsub/a.mp4\nhttp://h/v.mp4\n")
    found = read("table", f"memory://{tmp_path.name}/l.csv", columns={"url": "path"}, root=root)
    urls = [row.url for row in rows(found)]
    inside = [] if root else [f"memory:///{tmp_path.name}/sub/a.mp4"]
    assert [u.replace("memory:////", "memory:///") if u else u for u in urls] == [*inside, "http://h/v.mp4"]
    metadata = video_metadata_table(pq.read_table(_index(tmp_path, found)))
    forged = [{**row, "url": "/etc/hostname", "status": "ok"} for row in metadata.to_pylist()][:1]
    table = build_raw_shard(
        ShardVideos(
            type(metadata).from_pylist(forged, metadata.schema),
            Recipe.model_validate({"dataset": "d", "source": {"format": "ids", "path": "x"}}).download,
            local_lists=True,
        ),
        Storage(str(tmp_path / "data")),
        "raw_shards/d-00000",
    ).table
    assert table["error_class"].to_pylist() == ["unsupported"], "also where the index says so"


def _index(folder: Path, found: list[SourceRow | RejectedLine]) -> Path:
    source = {"format": "table", "path": f"memory://{folder.name}/l.csv", "columns": {"url": "path"}}
    plan_index(Recipe.model_validate({"dataset": "d", "source": source}), None, folder / "index.parquet")
    return folder / "index.parquet"


SPOKEN = {
    "cp1252": "Voilà, c'est déjà terminé. Où êtes-vous né? L'hôtel est fermé l'été.",
    "cp1251": "Добрый день, друзья! Сегодня мы говорим о погоде. Спасибо за внимание.",
    "gb18030": "今天天气很好，我们去公园散步吧。谢谢大家的观看。",
    "cp932": "今日はとてもいい天気ですね。公園へ行きましょう。ありがとうございました。",
    "cp949": "오늘은 날씨가 정말 좋네요. 공원에 갑시다.",
    "cp1250": "Dzień dobry, chciałbym kupić świeże bułki i żółty ser.",
}


@pytest.mark.parametrize("encoding", SPOKEN)
def test_older_encodings_are_told_from_the_text_and_kept_with_it(tmp_path: Path, encoding: str) -> None:
    words = SPOKEN[encoding]
    srt = (
        f"1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>{words}</i>\r\n\r\n2\r\n00:00:02,500 --> 00:00:04,000\r\n{words}\r\n"
    )
    (tmp_path / "v.srt").write_bytes(srt.encode(encoding))
    (tmp_path / "v.txt").write_bytes(words.encode(encoding))
    (tmp_path / "v.mp4").write_bytes(sample_video(0.5, audio=False))
    recipe = Recipe.model_validate({"dataset": "d", "source": {"format": "folder", "path": str(tmp_path)}})
    plan_index(recipe, None, tmp_path / "index.parquet")
    metadata = video_metadata_table(pq.read_table(tmp_path / "index.parquet"))
    (row,) = metadata.to_pylist()
    assert row["caption"] == words
    assert json.loads(row["extra"])["encodings"] == {"txt": encoding}
    (raw,) = build_raw_shard(
        ShardVideos(metadata, recipe.download, allow_local=True), Storage(str(tmp_path / "data")), "raw_shards/d-00000"
    ).table.to_pylist()
    (track,) = raw["subtitles"]
    assert [cue["text"] for cue in track["cues"]] == [words, words]
    assert track["encoding"] == encoding


@pytest.mark.parametrize(
    "data", ["Привет".encode("cp1251"), b"a\xff\xfeb", "你好".encode("gbk"), b"a\0b", b"\xff\xfea\0\0\xd8"]
)
def test_text_that_stays_doubtful_is_an_error_that_names_the_file(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(EncodingError, match=r"f\.txt: not UTF-.* convert it to UTF-8"):
        text_of(data, "f.txt")
    (tmp_path / "v.txt").write_bytes(data)
    (tmp_path / "v.mp4").write_bytes(b"v")
    (line,) = read("folder", tmp_path)
    assert isinstance(line, RejectedLine)
    assert line.reason.startswith("v.txt: ") or "/v.txt: " in line.reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@settings(max_examples=50)
@given(text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"), min_size=1))
def test_unicode_with_its_mark_is_read_as_it_stands(encoding: str, text: str) -> None:
    assert text_of(text.encode(encoding), "f") == text_of(text.encode(), "f")
    assert text_of(text.encode(encoding), "f").text == text


MEMBERS = st.lists(st.sampled_from(["mp4", "txt", "json", "m4a", "en.vtt"]), min_size=1, unique=True)


@settings(max_examples=100)
@given(samples=st.lists(MEMBERS, min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_members_of_a_tar_find_together_in_whatever_order_they_lie(
    tmp_path_factory: pytest.TempPathFactory, samples: list[list[str]], order: Any
) -> None:
    members = [(f"{n:03d}", ending) for n, endings in enumerate(samples) for ending in endings]
    order.shuffle(members)
    folder = tmp_path_factory.mktemp("tar")
    contents = {"txt": "caption {}", "json": '{{"title": "title {}"}}'}
    data = packed(
        lambda tar: [
            add(tar, f"{key}.{ending}", contents.get(ending, f"{ending} {{}}").format(int(key)).encode())
            for key, ending in members
        ]  # type: ignore[arg-type, return-value]
    )
    (folder / "t.tar").write_bytes(data)
    found = {row.video_id: row for row in rows(read("webdataset", folder))}
    assert set(found) == {f"{n:03d}" for n, endings in enumerate(samples) if "mp4" in endings}
    storage = Storage(str(folder))
    for n, endings in enumerate(samples):
        if "mp4" not in endings:
            continue
        row = found[f"{n:03d}"]
        assert storage.read_media(MediaRef(**row.extra["media"])) == f"mp4 {n}".encode()
        assert row.caption == (f"caption {n}" if "txt" in endings else None)
        assert row.title == (f"title {n}" if "json" in endings else None)
        assert ("audio" in row.extra) == ("m4a" in endings)


def test_keys_that_begin_again_are_other_samples(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(
        packed(
            lambda tar: [
                add(tar, name, data)
                for name, data in [("0.mp4", b"a"), ("1.mp4", b"b"), ("1.txt", b"of b"), ("0.json", b"{}"), ("0.mp4", b"c"), ("0.txt", b"of c")]
            ]  # type: ignore[arg-type, return-value]
        )
    )  # fmt: skip
    said = [(r.extra["media"]["size"], r.caption) for r in rows(read("webdataset", tmp_path / "t.tar"))]
    assert said == [(1, None), (1, "of b"), (1, "of c")]


def test_relative_addresses_of_a_packages_files_lie_beside_what_names_them(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "list.txt").write_text("a.mp4")
    given = [
        SourceRow("a", "a.mp4", str(tmp_path / "films"), 1),
        SourceRow("b", "films/../b.mp4", str(tmp_path / "list.txt"), 1),
        SourceRow("c", "/elsewhere/c.mp4", str(tmp_path / "list.txt"), 2),
        SourceRow("d", "https://host/d.mp4", str(tmp_path / "list.txt"), 3),
        SourceRow("e", "e.mp4", "memory://lists/list.txt", 1),
        RejectedLine(str(tmp_path / "list.txt"), 4, "?", "not a name"),
    ]
    found = list(located(given, None))
    assert [r.url for r in rows(found)] == [
        f"{tmp_path}/films/a.mp4",
        f"{tmp_path}/b.mp4",
        "/elsewhere/c.mp4",
        "https://host/d.mp4",
        "memory:///lists/e.mp4",
    ]
    assert found[-1] is given[-1]
