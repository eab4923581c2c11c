"""Words of spans: every layout in which published lists write captions and spans, read to the same clips."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.index_records import merge_records, record_of
from curation_assets.ingest.indexing import plan_index
from curation_assets.ingest.normal_form import video_metadata_table
from curation_assets.ingest.sources import RejectedLine, SourceError, SourceRow, read_source
from curation_assets.recipes import Recipe

CLIPS = [
    ("-a_B1234567", 0, 3000, "eins, zwei", 0.5),
    ("bbbbbbbbbbb", 12_340, 15_000, 'say "drei"\nvier', 0.25),
    ("-a_B1234567", 3000, 7107, "fünf; sechs", 0.75),
]
"""(video, start_ms, end_ms, caption, score): two clips of one video apart from each other in the list."""


def clock(ms: int) -> str:
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def by_video(*, literal: Any = repr) -> list[dict[str, Any]]:
    """A row per video with parallel lists, as Panda-70M has them."""
    rows = []
    for video in dict.fromkeys(c[0] for c in CLIPS):
        own = [c for c in CLIPS if c[0] == video]
        rows.append(
            {
                "videoID": video,
                "url": f"https://www.youtube.com/watch?v={video}",
                "timestamp": literal([[clock(a), clock(b)] for _, a, b, _, _ in own]),
                "caption": literal([c[3] for c in own]),
                "matching_score": literal([c[4] for c in own]),
                "desirable_filtering": literal(["desirable" for _ in own]),
            }
        )
    return rows


def table(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def a_row_per_clip() -> list[dict[str, Any]]:
    return [
        {"YoutubeID": v, "Start_timestamp": clock(a), "End_timestamp": clock(b), "Caption": c, "matching_score": s}
        for v, a, b, c, s in CLIPS
    ]


INTERNVID = {"id": "YoutubeID", "start": "Start_timestamp", "end": "End_timestamp", "caption": "Caption"}
PANDA = {"id": "videoID", "url": "url", "clips": "timestamp", "caption": "caption"}


def activitynet() -> dict[str, Any]:
    return {
        row["videoID"]: {
            "duration": 60.0,
            "timestamps": [[a / 1000, b / 1000] for v, a, b, _, _ in CLIPS if v == row["videoID"]],
            "sentences": [c for v, _, _, c, _ in CLIPS if v == row["videoID"]],
            "matching_score": [s for v, _, _, _, s in CLIPS if v == row["videoID"]],
        }
        for row in by_video()
    }


def database() -> dict[str, Any]:
    return {
        "version": "VERSION 1.3",
        "taxonomy": [{"nodeName": "Root"}],
        "database": {
            row["videoID"]: {
                "duration": 60.0,
                "subset": "training",
                "annotations": [
                    {"segment": [a / 1000, b / 1000], "id": n, "sentence": c, "matching_score": s}
                    for n, (v, a, b, c, s) in enumerate(CLIPS)
                    if v == row["videoID"]
                ],
            }
            for row in by_video()
        },
    }


def vatex() -> list[dict[str, Any]]:
    return [
        {"videoID": f"{v}_{a / 1000:010.3f}_{b / 1000:010.3f}", "enCap": [c, "one more"], "matching_score": s}
        for v, a, b, c, s in CLIPS
    ]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def dumped(value: Any, **options: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, **options).encode()


LAYOUTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "internvid.csv": (table(a_row_per_clip()), INTERNVID),
    "internvid.tsv": (table(a_row_per_clip(), "\t"), INTERNVID),
    "semicolons.csv": (table(a_row_per_clip(), ";"), INTERNVID),
    "internvid.jsonl": (b"\n".join(dumped(r) for r in a_row_per_clip()), INTERNVID),
    "internvid.parquet": (parquet(a_row_per_clip()), INTERNVID),
    "internvid.csv.gz": (gzip.compress(table(a_row_per_clip())), INTERNVID),
    "utf16.csv": (table(a_row_per_clip()).decode().encode("utf-16"), INTERNVID),
    "utf16be.csv": (b"\xfe\xff" + table(a_row_per_clip()).decode().encode("utf-16-be"), INTERNVID),
    "mark.json": (b"\xef\xbb\xbf" + dumped(a_row_per_clip()), INTERNVID),
    "panda70m.csv": (table(by_video()), PANDA),
    "panda.json.csv": (table(by_video(literal=json.dumps)), PANDA),
    "panda.parquet": (parquet(by_video(literal=list)), PANDA),
    "seconds.jsonl": (
        b"\n".join(dumped({**r, "timestamp": [[a / 1000, b / 1000] for v, a, b, _, _ in CLIPS if v == r["videoID"]]}) for r in by_video()),
        PANDA,
    ),
    "starts_and_ends.jsonl": (
        b"\n".join(
            dumped({"id": v, "from": [a / 1000 for w, a, _, _, _ in CLIPS if w == v], "to": [f"{b}ms" for w, _, b, _, _ in CLIPS if w == v],
                    "text": [c for w, _, _, c, _ in CLIPS if w == v], "matching_score": [s for w, _, _, _, s in CLIPS if w == v]})
            for v in dict.fromkeys(c[0] for c in CLIPS)
        ),
        {"id": "id", "start": "from", "end": "to", "caption": "text"},
    ),
    "activitynet.json": (dumped(activitynet()), {"id": "id", "clips": "timestamps", "caption": "sentences"}),
    "indented.json": (dumped(activitynet(), indent=1), {"id": "id", "clips": "timestamps", "caption": "sentences"}),
    "youcook2.json": (dumped(database()), {"id": "id", "clips": "annotations"}),
    "vatex.json": (dumped(vatex()), {"clip_name": "videoID", "caption": "enCap"}),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_of_a_list_gives_each_clip_its_own_words(tmp_path: Path, name: str) -> None:
    data, columns = LAYOUTS[name]
    (tmp_path / name).write_bytes(data)
    rows = indexed(tmp_path, {"format": "table", "path": str(tmp_path / name), "columns": columns})
    assert {r["video_id"] for r in rows} == {c[0] for c in CLIPS}
    for video, start, end, caption, score in CLIPS:
        row = next(r for r in rows if r["video_id"] == video)
        assert row["url"] == f"https://www.youtube.com/watch?v={video}"
        (span,) = [s for s in row["spans"] if (s["start_ms"], s["end_ms"]) == (start, end)]
        assert span["caption"] == caption
        assert span["captions"] == ([caption, "one more"] if "vatex" in name else None)
        assert float(json.loads(span["extra"])["matching_score"]) == score
        if len(row["spans"]) > 1:
            assert row["caption"] is None, "one clip's caption is not the video's"


def indexed(folder: Path, source: dict[str, Any]) -> list[dict[str, Any]]:
    recipe = Recipe.model_validate({"dataset": "d", "source": source})
    plan_index(recipe, None, folder / "index.parquet")
    rows: list[dict[str, Any]] = video_metadata_table(pq.read_table(folder / "index.parquet")).to_pylist()
    return rows


def read(path: Path, data: bytes, **options: Any) -> list[SourceRow | RejectedLine]:
    path.write_bytes(data)
    return list(read_source(Source.model_validate({"format": "table", "path": str(path), **options})))


@pytest.mark.parametrize(
    ("record", "columns", "reason"),
    [
        ({"id": "v", "s": [[0, 1], [1, 2]], "c": ["a"]}, {"caption": "c"}, "1 entries in column 'c' for 2 spans"),
        ({"id": "v", "s": [[0, 1]], "c": ["a", "b"]}, {"caption": "c"}, "2 entries in column 'c' for 1 spans"),
        ({"id": "v", "s": [], "c": ["a"]}, {"caption": "c"}, "1 entries in column 'c' for 0 spans"),
        ({"id": "v", "s": [[0, 1], [1, 2]], "n": [3]}, {"parallel": ["n"]}, "1 entries in column 'n' for 2 spans"),
        ({"id": "v", "s": "__import__('os').getcwd()", "c": ["a"]}, {"caption": "c"}, "neither JSON nor a Python literal"),
        ({"id": "v", "s": [[0, 1], [1]], "c": ["a", "b"]}, {"caption": "c"}, "is no span"),
    ],
)  # fmt: skip
def test_lists_of_unequal_length_are_rejected_rows(
    tmp_path: Path, record: dict[str, Any], columns: dict[str, Any], reason: str
) -> None:
    good = {"id": "w", "s": [[0, 1]], "c": ["x"], "n": [1]}
    data = dumped(record) + b"\n" + dumped(good)
    first, second = read(tmp_path / "t.jsonl", data, columns={"id": "id", "clips": "s", **columns})
    assert isinstance(first, RejectedLine)
    assert reason in first.reason
    assert isinstance(second, SourceRow)


def test_captions_of_a_second_file_are_joined_by_the_clips_own_id_or_the_videos(tmp_path: Path) -> None:
    msrvtt = {
        "info": {"year": "2016"},
        "videos": [
            {"video_id": "video0", "url": "https://www.youtube.com/watch?v=9lZi22qLlEo", "start time": 137.72, "end time": 149.44, "category": 9},
            {"video_id": "video1", "url": "https://www.youtube.com/watch?v=9lZi22qLlEo", "start time": 1, "end time": 2, "category": 1},
        ],
        "sentences": [
            {"caption": "a car", "video_id": "video0", "sen_id": 0},
            {"caption": "a bus", "video_id": "video1", "sen_id": 1},
            {"caption": "a red car", "video_id": "video0", "sen_id": 2},
        ],
    }  # fmt: skip
    (tmp_path / "msrvtt.json").write_bytes(dumped(msrvtt))
    path = str(tmp_path / "msrvtt.json")
    columns = {"url": "url", "start": "start time", "end": "end time", "clip_id": "video_id"}
    source = {"format": "table", "path": path, "columns": columns, "captions": {"path": path, "records": "sentences"}}
    (row,) = indexed(tmp_path, source)
    assert row["video_id"] == "9lZi22qLlEo"
    assert [(s["clip_id"], s["caption"], s["captions"]) for s in row["spans"]] == [
        ("video0", "a car", ["a car", "a red car"]),
        ("video1", "a bus", None),
    ]
    assert [json.loads(s["extra"]) for s in row["spans"]] == [{"category": 9}, {"category": 1}]

    (tmp_path / "list.csv").write_text("id,url\na,https://h/a.mp4\nb,https://h/b.mp4\n")
    (tmp_path / "words.tsv").write_text("name\ttext\nb\tzwei\na\teins\nb\tdrei\nc\tnone\n")
    joined = {"path": str(tmp_path / "words.tsv"), "id": "name", "caption": "text"}
    source = {"format": "table", "path": str(tmp_path / "list.csv"), "columns": {"id": "id", "url": "url"}}
    rows = indexed(tmp_path, {**source, "captions": joined})
    assert [(r["video_id"], r["caption"], r["captions"]) for r in rows] == [
        ("a", "eins", None),
        ("b", "zwei", ["zwei", "drei"]),
    ]
    (tmp_path / "words.tsv").write_text("name\ttext\nb\n")
    with pytest.raises(SourceError, match=r"words\.tsv, 2: 1 columns where the header has 2"):
        indexed(tmp_path, {**source, "captions": joined})


WORDS = st.fixed_dictionaries(
    {},
    optional={
        "caption": st.sampled_from(["a", "b", "c"]),
        "licence": st.sampled_from(["CC0", "CC-BY"]),
        "extra": st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 2), min_size=1),
    },
)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 3), WORDS), min_size=1, max_size=6))
def test_rows_that_are_clips_keep_their_words_whatever_their_order_and_the_video_has_what_all_say(
    rows: list[tuple[int, dict[str, Any]]],
) -> None:
    records = []
    for place, said in rows:
        words = {k: v for k, v in said.items() if k != "caption"} | (
            {"captions": [said["caption"]]} if "caption" in said else {}
        )
        row = SourceRow(
            "v", "https://h/v", "f", 1, spans=[(None, place, place + 1)], words=[words] if words else [], **said
        )
        records.append(record_of(row))
    contradictions: Counter[str] = Counter()
    merged = json.loads(merge_records(records, contradictions))
    spans = {s[1]: (s[3] if len(s) > 3 else {}) for s in merged["spans"]}
    for place in {p for p, _ in rows}:
        own = [said for p, said in rows if p == place]
        assert spans[place].get("captions", []) == list(dict.fromkeys(s["caption"] for s in own if "caption" in s))
        assert spans[place].get("licence") == next((s["licence"] for s in own if "licence" in s), None)
    for name in ("caption", "licence"):
        values = {said.get(name) for _, said in rows}
        assert merged.get(name) == (values.pop() if len(values) == 1 else None)
    disagreeing = {
        "licence" for p, _ in rows if len({said["licence"] for q, said in rows if q == p and "licence" in said}) > 1
    }
    assert set(contradictions) - {"x", "y"} == disagreeing


def test_columns_that_contradict_each_other_within_a_video_are_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "id,url,title,start,end,text\n"
        "a,https://h/1.mp4,T,0,1,x\na,https://h/2.mp4,T,1,2,y\na,https://h/2.mp4,U,2,3,z\nb,https://h/b.mp4,T,0,1,x\n"
    )
    columns = {n: n for n in ("id", "url", "title", "start", "end")} | {"caption": "text"}
    recipe = Recipe.model_validate(
        {"dataset": "d", "source": {"format": "table", "path": str(tmp_path / "t.csv"), "columns": columns}}
    )
    plan = plan_index(recipe, None, tmp_path / "index.parquet")
    assert plan.contradictions == {"title": 1, "url": 1}
