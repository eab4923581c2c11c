"""What the source says of a clip: which span it comes from, and that roots whose lists say nothing of spans stay as they are."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from curation_assets.ingest.source_words import extras_of, licence_of, said_of, source_captions, span_of
from curation_assets.ingest.video_metadata import SPAN_WORDS
from curation_assets.rules.evaluation import passing
from curation_assets.rules.language import RuleError, parse_rule
from curation_assets.schemas import schema
from curation_resources.content_hash import content_hash

BEFORE = pa.struct([("clip_id", pa.string()), ("start_ms", pa.int64()), ("end_ms", pa.int64())])
"""A span of `video_metadata` before spans had words."""


def span(start: int, end: int, **words: Any) -> dict[str, Any]:
    return {"clip_id": None, "start_ms": start, "end_ms": end, **dict.fromkeys(n for n, _ in SPAN_WORDS), **words}


def test_tables_whose_spans_have_no_words_keep_the_hash_that_they_had_before() -> None:
    contract = schema("video_metadata")
    rows = [
        {"dataset": "d", "video_id": "a", "status": "ok", "source": "f", "line": 1, "caption": "x", "spans": [span(0, 1), span(1, 2)]},
        {"dataset": "d", "video_id": "b", "status": "ok", "source": "f", "line": 2, "spans": None},
        {"dataset": "d", "video_id": "c", "status": "ok", "source": "f", "line": 3, "spans": []},
    ]  # fmt: skip
    now = pa.Table.from_pylist(rows, contract.arrow)
    fields = [f.with_type(pa.list_(BEFORE)) if f.name == "spans" else f for f in contract.arrow if f.name != "captions"]
    for row in rows:
        row["spans"] = row["spans"] and [{n: s[n] for n in BEFORE.names} for s in row["spans"]]  # type: ignore[attr-defined]
    before = pa.Table.from_pylist(rows, pa.schema(fields))
    old = content_hash(before, contract.key, contract.volatile)
    assert content_hash(now, contract.key, contract.volatile, contract.later) == old
    hashes = {old}
    for words in ({"caption": "x"}, {"captions": ["x", "y"]}, {"licence": "CC0"}, {"extra": "{}"}):
        rows[0]["spans"] = [span(0, 1), span(1, 2, **words)]
        table = pa.Table.from_pylist(rows, contract.arrow)
        hashes.add(content_hash(table, contract.key, contract.volatile, contract.later))
    assert len(hashes) == 5, "each word counts"


def test_a_clip_of_an_older_table_is_known_by_the_times_that_were_asked_for() -> None:
    spans = [span(0, 3000, caption="a"), span(3000, 6000, caption="b", licence="CC0", extra='{"x":1}')]
    video = {"spans": spans, "caption": None, "licence": "CC-BY", "extra": '{"x":0,"y":2}'}
    clip = {"origin": "split", "requested_start_ms": 3000, "requested_end_ms": 6000}
    for known in ({}, {"source_span": None}, {"source_span": 1}):
        found = {**clip, **known}
        assert span_of(found, spans) == spans[1]
        assert source_captions(found, video) == ["b"]
        assert licence_of(found, video, "CC-BY") == "CC0"
        assert extras_of(found, video) == {"x": 1, "y": 2}
        assert said_of(found, video) == {"start_ms": 3000, "end_ms": 6000, "caption": "b", "licence": "CC0", "extra": {"x": 1}}  # fmt: skip
    detected = {"origin": "detected", "requested_start_ms": 3000, "requested_end_ms": 6000, "source_span": None}
    assert span_of(detected, spans) is None
    assert said_of(detected, video) == {}
    assert extras_of(detected, video) == {"x": 0, "y": 2}


def test_a_span_without_a_caption_takes_none_of_another() -> None:
    video = {"spans": [span(0, 1, caption="a"), span(1, 2)], "caption": "of the video"}
    assert source_captions({"source_span": 1}, video) == []
    assert source_captions({"source_span": None}, video) == ["of the video"]
    assert source_captions({"source_span": 1}, {**video, "spans": [span(0, 1), span(1, 2)]}) == ["of the video"]


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        ("source.n >= 10", [False, True, False, False]),
        ("source.n in [9, 10.0]", [True, True, False, False]),
        ("source.n = 'x'", [False, False, True, False]),
        ("source.n is null", [False, False, False, True]),
        ("not source.n > 9.5", [True, False, False, False]),
        ('source."A score" < 0', [True, False, False, False]),
        ("source.b", [True, False, False, False]),
        ("source.b = false", [False, True, True, False]),
    ],
)
def test_columns_of_the_source_count_as_the_numbers_that_they_hold(rule: str, passes: list[bool]) -> None:
    columns = {
        "source.n": pa.array(["9", " 1.0e1", "x", None]),
        "source.A score": pa.array(["-1", "+2", "", "nan"]),
        "source.b": pa.array(["true", "False", "no", None]),
    }
    assert passing(parse_rule(rule), columns).to_pylist() == passes


def test_a_rule_about_a_column_of_the_source_may_not_be_broken_text() -> None:
    with pytest.raises(RuleError):
        parse_rule('source."A score < 1')
