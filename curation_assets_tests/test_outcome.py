"""What a run says while it goes and when it is over: numbers that are true, in a form that fits many shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation_assets.decode.reading.workers import Task, run_tasks
from curation_assets.engine import progress
from curation_assets.outcome import SHOWN_FAILURES, SHOWN_SHARDS, Progress, outcome_of_subsets, summary
from curation_assets.recipes import parse_recipe
from curation_assets.report import dataset_report, render
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_resources.progress import listening, told
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore


def test_what_is_told_goes_to_the_innermost_listener_of_the_thread() -> None:
    outer: list[tuple[int, int, str]] = []
    inner: list[tuple[int, int, str]] = []
    assert list(told("ab", 2, "letters")) == ["a", "b"]  # nobody listens
    with listening(lambda done, total, unit, words: outer.append((done, total, unit))):
        with listening(lambda done, total, unit, words: inner.append((done, total, unit))):
            tasks = [Task(k, k, 1.0) for k in "xyz"]
            assert [o.result for o in run_tasks(str.upper, tasks, 0, "clips")] == ["X", "Y", "Z"]
        list(told("a", 1, "letters"))
    assert inner == [(0, 3, "clips"), (1, 3, "clips"), (2, 3, "clips"), (3, 3, "clips")]
    assert outer == [(0, 1, "letters"), (1, 1, "letters")]


def test_rate_and_time_left_count_from_the_first_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a part brings the start with it: 170 s of compiling are no pace of videos that take one."""
    lines: list[str] = []
    now = [100.0]
    monkeypatch.setattr(progress, "due", lambda: True)
    reporter = progress.Reporter("decode a-00001 (1 of 9)", lines.append, clock=lambda: now[0])

    def after(seconds: float, *told: Any) -> None:
        now[0] += seconds
        reporter(*told)

    after(0, 40, 300, "videos", "40 ok")  # rows of an earlier run
    after(170, 41, 300, "videos", "41 ok")
    after(10, 51, 300, "videos", "50 ok, 1 failed")
    after(160, 211, 300, "videos")
    after(10, 300, 300, "videos")
    after(0, 0, 2000, "frames")
    after(5, 500, 2000, "frames")
    after(5, 1000, 2000, "frames")
    after(0, 0, 3, "films")
    after(700, 1, 3, "films")
    after(600, 2, 3, "films")
    assert lines == [
        "decode a-00001 (1 of 9): 40 of 300 videos; 40 ok",
        "decode a-00001 (1 of 9): 41 of 300 videos, the first after 2 min 50 s; 41 ok",
        "decode a-00001 (1 of 9): 51 of 300 videos, the first after 2 min 50 s; 50 ok, 1 failed",
        "decode a-00001 (1 of 9): 211 of 300 videos, 1.0/s, 1 min 29 s left",
        "decode a-00001 (1 of 9): 300 of 300 videos, 1.3 s each",
        "decode a-00001 (1 of 9): 0 of 2,000 frames",
        "decode a-00001 (1 of 9): 500 of 2,000 frames, the first after 5 s",
        "decode a-00001 (1 of 9): 1,000 of 2,000 frames, 100.0/s, 10 s left",
        "decode a-00001 (1 of 9): 0 of 3 films",
        "decode a-00001 (1 of 9): 1 of 3 films, 700.0 s each, 23 min 20 s left",  # no start takes that long
        "decode a-00001 (1 of 9): 2 of 3 films, 650.0 s each, 10 min 50 s left",
    ]
    pace = progress.Pace(clock=lambda: now[0])
    assert pace.left(0, 4) == ""
    now[0] += 300
    assert pace.left(1, 4) == ""
    now[0] += 4
    assert pace.left(2, 4) == ""
    now[0] += 300
    assert pace.left(3, 4) == ", 2 min 32 s left"
    assert [progress.span(s) for s in (0.4, 59.6, 3599, 7500, 360_000)] == [
        "0 s",
        "1 min 0 s",
        "59 min 59 s",
        "2 h 5 min",
        "4 d 4 h",
    ]


def test_lines_come_now_and_then_whatever_they_are_about(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "_last", now[0])
    said: list[str] = []
    for shard in range(300):  # each too short for a line of its own
        reporter = progress.Reporter(f"decode a-{shard:05d}", said.append)
        reporter(1, 2, "videos")
        now[0] += 0.5
    assert len(said) == 14  # in 150 s


def test_the_summary_of_many_shards_shows_those_with_failures_and_the_sum(tmp_path: Path) -> None:
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    keys = [f"a-{n:05d}" for n in range(60)]
    for n, key in enumerate(keys):
        errors = {"gone": 2} if n % 2 else {}
        stats = {"ok": 8, "errors": errors, "bytes": 10**6, "wall_s": 1.0}
        store.commit("raw_shards", key, schema("raw_shards").empty(), Provenance("1", None), stats)
    few = summary(store, keys[:SHOWN_SHARDS]).splitlines()
    assert len(few) == 2 + SHOWN_SHARDS
    many = summary(store, [*keys, "a-00060"]).splitlines()
    assert len(many) == 2 + SHOWN_SHARDS + 2
    assert {line.split()[3:5] == ["gone", "2"] for line in many[2 : 2 + SHOWN_SHARDS]} == {True}
    assert many[-2].startswith("11 more like these")
    assert many[-1].split()[:8] == ["all", "61", "shards", "0", "480", "gone", "60", "60.0"]


def test_failures_are_counted_where_they_are_too_many() -> None:
    outcome = Progress()
    for n in range(SHOWN_FAILURES + 5):
        outcome.failures += [f"decode: reason {n}", f"decode: reason {n}"]
    outcome.made.update({"clips": 33_000, "frames": 1})
    outcome.unchanged.update({"raw_shards": 7})
    lines = [*outcome.lines(), *outcome.failed_lines()]
    assert lines[:2] == ["made: clips 33,000, frames 1", "up to date: raw_shards 7"]
    assert len(lines) == 2 + SHOWN_FAILURES + 1
    assert lines[-1].startswith("FAILED 5 more")


def test_what_is_in_force_from_before_is_not_shown_as_the_outcome(tmp_path: Path) -> None:
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    text = "dataset: a\nsource: {format: folder, path: /v}\nsubsets: {s: {where: [keep], export: {clips: {format: folder}}}}\n"
    recipes = {"a": parse_recipe(text, "a.yaml")}
    for asset, stats in (("curated_clips", {"selected": 2, "candidates": 3}), ("clip_dataset", {"version": "v"})):
        store.commit(asset, "a-s", schema(asset).empty(), Provenance("1", None), stats)
    folder = tmp_path / "clip_dataset/a-s/v"

    def said(*in_hand: str) -> list[str]:
        return list(outcome_of_subsets(store, recipes, {(asset, "a-s") for asset in in_hand}))

    assert said("curated_clips", "clip_dataset") == [f"a-s: 2 of 3 clips selected; clip_dataset in {folder}"]
    assert said("curated_clips") == [f"a-s: 2 of 3 clips selected; clip_dataset, as before, in {folder}"]
    assert said() == [f"a-s: 2 of 3 clips selected, as before; clip_dataset, as before, in {folder}"]
    stats = {"version": "v", "failed": 1}
    store.commit("clip_dataset", "a-s", schema("clip_dataset").empty(), Provenance("1", None), stats)
    (line,) = said("curated_clips", "clip_dataset")
    command = "`curation list failed --subset a-s --why clip_dataset`"
    assert line.endswith(f"clip_dataset in {folder}, without 1 that could not be made: {command}")
    settings = Settings(storage=str(tmp_path))
    report = dataset_report(store, recipes["a"], settings)
    assert report.subsets[0].failed == {"clip_dataset": 1}
    assert f"clip_dataset is without 1 that could not be made: {command}" in render(report, settings)
