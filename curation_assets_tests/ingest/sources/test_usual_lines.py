"""Compiled code reads what the adapter reads: the same records, ids and addresses, and nothing else than lines of the usual shape."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.forgotten import Forgotten, digest, id_key
from curation_assets.ingest.source_spool import spool
from curation_assets.ingest.sources import UsualRows, hdvila, read_many, read_source
from curation_assets.ingest.spilled_rows import spilled_tables
from curation_assets.recipes import Recipe

ID = "abcdefghijk"
URL = f"https://www.youtube.com/watch?v={ID}"
SPAN = ["00:00:01.000", "00:00:02.500"]


def line(**changed: Any) -> str:
    return json.dumps({"video_id": ID, "url": URL, "clip": [{"clip_id": f"{ID}.0.mp4", "span": SPAN}], **changed})


def clip(**changed: Any) -> str:
    return line(clip=[{"clip_id": f"{ID}.0.mp4", "span": SPAN, **changed}])


USUAL = [
    line(),
    line().replace(", ", ",").replace(": ", ":"),
    "  " + line() + " \t\r",
    json.dumps(
        {"clip": [{"span": SPAN, "clip_id": "some.mp4"}] * 1, "url": "http://x.test/a/b.mp4", "video_id": "vvvvv"}
    ),
    line(clip=[{"clip_id": f"c-{n:03d}", "span": [f"00:00:{n:02d}.000", f"99:59:{n:02d}.999"]} for n in range(40)]),
    line(clip=[{"clip_id": "late1", "span": ["01:00:00.000", "01:00:01.000"]}, {"clip_id": "early", "span": SPAN}]),
]
OTHER = [
    "",
    "   ",
    "{",
    "no json",
    line() + "x",
    line()[:-1],
    line(title="a title"),
    line(url=URL + "&token=hush"),
    line(url="https://me:hush@x.test/v.mp4"),
    line(url="https://x.test/v.mp4;jsessionid=1"),
    line(url="ftp://x.test/v.mp4"),
    line(url="x/v.mp4"),
    line(url=""),
    line(video_id=""),
    line(video_id="nan"),
    line(video_id=12345678),
    line(video_id="ü" * 8),
    line(video_id="a b c d e"),
    line(video_id="x" * 257),
    line(video_id='quo"te'),
    line(clip=None),
    line(clip=[]),
    line(clip={}),
    clip(clip_id=None),
    clip(clip_id="none"),
    clip(clip_id="back\\slash"),
    clip(score=0.5),
    clip(span=[1.0, 2.5]),
    clip(span=["00:00:01,000", "00:00:02,500"]),
    clip(span=["00:61:01.000", "00:00:02.500"]),
    clip(span=["0:00:01.000", "00:00:02.500"]),
    clip(span=["00:00:01.000"]),
    clip(span=["00:00:01.000", "00:00:02.500", "00:00:03.000"]),
    line(clip=[{"clip_id": "first", "span": SPAN}, {"clip_id": "again", "span": SPAN}]),
    line(clip=[{"clip_id": "aaaaa", "span": SPAN}, {"clip_id": "bbbbb", "span": ["00:00:00.000", "00:00:09.000"]}] * 2),
    line().replace('"clip":', '"clip": [], "clip":'),
    line().replace("}]", "},]"),
    "\ufeff" + line(),
    '{"video_id": "' + "x" * 200,
]


def spilled(source: Source, read: Any) -> pa.Table:
    return pa.concat_tables(spilled_tables(read(source, None, None))).combine_chunks()


def both(path: Path, lines: Iterable[str], monkeypatch: pytest.MonkeyPatch, block: int, ended: bool = True) -> pa.Table:
    path.write_text("\n".join(lines) + ("\n" if ended else ""), newline="")
    monkeypatch.setattr(hdvila, "FIRST_BYTES", 0)
    monkeypatch.setattr(hdvila, "BLOCK_BYTES", block)
    source = Source.model_validate({"format": "hdvila", "path": str(path)})
    one, many = spilled(source, read_source), spilled(source, read_many)
    assert many.to_pylist() == one.to_pylist()
    return one


def test_lines_of_the_usual_shape_are_read_by_compiled_code_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(tmp_path / "list.jsonl", USUAL, monkeypatch, 1 << 20)
    source = Source.model_validate({"format": "hdvila", "path": str(tmp_path / "list.jsonl")})
    (rows,) = read_many(source)
    assert isinstance(rows, UsualRows)
    assert rows.lines.to_pylist() == list(range(1, len(USUAL) + 1))
    both(tmp_path / "list.jsonl", [f" {o}" if o.startswith("\ufeff") else o for o in OTHER], monkeypatch, 1 << 20)
    assert not any(isinstance(r, UsualRows) for r in read_many(source))


@pytest.mark.parametrize("block", [1, 100, 5000, 1 << 20])
def test_every_line_gives_the_same_row_as_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    random_ = random.Random(block)
    for round_ in range(5):
        mixed = random_.choices([*USUAL, *USUAL, *USUAL, *OTHER], k=80)
        found = both(tmp_path / "list.jsonl", mixed, monkeypatch, block, ended=round_ % 2 == 0)
        assert found["seq"].to_pylist() == list(range(found.num_rows))


def test_damaged_bytes_give_the_same_row_as_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A usual line with one byte changed, for every place in it."""
    text = line()
    damaged = [text[:i] + c + text[i + 1 :] for i in range(len(text)) for c in '"x0,]}:\x01 ']
    both(tmp_path / "list.jsonl", damaged, monkeypatch, 1 << 16)


def test_a_line_too_long_is_rejected_and_the_next_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("file_reading", "hdvila"):
        monkeypatch.setattr(f"curation_assets.ingest.sources.{module}.MAX_LINE_BYTES", 3000)
    for size in (2000, 2990, 3000, 3001, 3100, 9000):
        long = line(title="x" * (size - len(line(title=""))))
        found = both(tmp_path / "list.jsonl", [line(), long, line(video_id="after")], monkeypatch, 700)
        assert found["video_id"][-1].as_py() == "after"
        assert [e is None for e in found["error"].to_pylist()] == [True, size < 3000, True]


def test_videos_that_were_taken_down_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line(video_id=f"video-{n}", url=f"https://x.test/{n}.mp4") for n in range(5)]
    both(tmp_path / "list.jsonl", lines, monkeypatch, 1 << 20)
    recipe = Recipe.model_validate(
        {"dataset": "d", "source": {"format": "hdvila", "path": str(tmp_path / "list.jsonl")}}
    )
    gone = Forgotten("salt", frozenset([digest("salt", id_key("d", "video-2"))]), frozenset(["id"]))
    found = spool(recipe, None, gone, None, tmp_path / "spool.parquet")
    assert (found.rows, found.left_out) == (4, 1)
    assert pa.parquet.read_table(found.path)["seq"].to_pylist() == [0, 1, 2, 3]
