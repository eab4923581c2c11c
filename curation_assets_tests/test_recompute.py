"""A change recomputes what it touches and nothing else: the exact tables, over the real graph on tiny videos, by the engine alone.

What models decide is in test_recompute_models.py, so that here none is loaded.
That Dagster shows the same is in test_dagster_shows.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from curation_assets.engine.differences import differences
from curation_assets.engine.events import TableChecked, TableCommitted
from curation_assets.engine.plan import PlanStep
from curation_assets.engine.staleness import SHARDED, WAITING
from curation_assets.explain import UnknownId, explain
from curation_assets.recipe_diff import recipe_diff
from curation_assets.recipes import Recipe
from curation_assets.registry import component
from curation_assets.report import dataset_report
from curation_assets.report import render as render_report
from curation_assets.scores.label_file import LabelFile, Said
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.toy_site import (
    CAPTIONS,
    DECODE,
    SHARDS,
    SUBSET,
    WITHOUT_MODELS,
    Toy,
    over,
    up_to_date,
    write_list,
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    """Brought up to date; each test begins with that."""
    with up_to_date(tmp_path_factory.mktemp("toy"), WITHOUT_MODELS) as made:
        yield made


@pytest.fixture(autouse=True)
def restored(toy: Toy) -> None:
    """The recipe as it was, and everything up to date with it."""
    toy.restore()


def test_everything_was_made_and_nothing_is_left(toy: Toy) -> None:
    assert toy.stale() == {}
    assert {a for a, _ in toy.tables()} >= {*DECODE, "dedup", "captions", "curated_clips"}
    assert toy.remade() == set()
    assert toy.steps == []


def test_a_threshold_of_a_subset_remakes_that_subset_alone(toy: Toy) -> None:
    toy.change("motion >= 0", "motion >= 0.0001")
    assert set(toy.stale()) == {SUBSET}
    assert toy.stale()[SUBSET].reasons[0].startswith("parameter where")
    assert toy.remade() == {SUBSET}


def test_a_detector_parameter_that_moves_no_cut_stops_where_content_is_the_same(toy: Toy) -> None:
    toy.change("threshold: 27", "threshold: 29")
    assert toy.stale()["clips", SHARDS[0]].reasons == ("parameter clips.threshold: 27.0 -> 29.0",)
    assert toy.remade() == over(*DECODE), "the clips say which detector found them, but nothing else of them is another"


def test_one_row_of_the_source_touches_its_shard_alone(toy: Toy) -> None:
    write_list(toy.root, [*CAPTIONS[:3], "a cat that sleeps"])
    made = toy.remade(index=True)
    ingest = {("dataset_index", None), *over("video_metadata", "raw_shards", shards=SHARDS[1:])}
    assert made == ingest | over(*DECODE, "captions", shards=SHARDS[1:]) | {SUBSET}


def test_videos_that_moved_are_not_decoded_again(toy: Toy) -> None:
    """The same bytes under another address: they are fetched, and every row that was made of them stays."""
    (toy.root / "web" / "moved").symlink_to(".")
    before = {a: toy.store.read(a, SHARDS[0]) for a in DECODE}
    write_list(toy.root, CAPTIONS, "moved/")
    assert over("raw_shards") <= toy.remade(index=True)
    for asset, rows in before.items():
        stats = toy.store.header(asset, SHARDS[0]).stats
        assert (stats["videos_made"], stats["videos_kept"]) == (0, 2)
        assert toy.store.read(asset, SHARDS[0]).equals(rows)
    (toy.root / "web" / "v0.mp4").write_bytes(sample_video(seed=7))
    try:
        write_list(toy.root, CAPTIONS)
        toy.remade(index=True)
        assert {toy.store.header(a, SHARDS[0]).stats["videos_made"] for a in DECODE} == {1}, "other bytes are decoded"
    finally:
        (toy.root / "web" / "v0.mp4").write_bytes(sample_video(seed=0))


@pytest.mark.parametrize(
    ("old", "new", "again", "perhaps"),
    [
        ("motion >= 0", "motion >= 0.0001", {"curated_clips"}, set()),
        ("timeout_s: 60", "timeout_s: 90", set(), set()),
        ("threshold: 27", "threshold: 29", {*DECODE}, {"duplicate_clusters", "dedup", "captions", "curated_clips"}),
        ("motion: {{fps: 4}}", "motion: {{fps: 3}}", {"motion_scores"}, {"curated_clips"}),
    ],
)
def test_the_difference_of_two_recipes_is_what_is_made_or_may_be(
    toy: Toy, old: str, new: str, again: set[str], perhaps: set[str]
) -> None:
    before = toy.recipes["toy"]
    toy.change(old, new)
    found = recipe_diff(toy.store, toy.settings, (before, toy.recipes["toy"]), {})
    assert len(found.keys) == 1
    assert {t.asset for t in found.tables if t.again} == again
    assert {t.asset for t in found.tables if t.perhaps} == perhaps
    assert all(t.because for t in found.tables if t.again)
    assert not any(t.new or t.dropped for t in found.tables)
    made = {asset for asset, _ in toy.remade()}
    assert again <= made <= again | perhaps
    back = recipe_diff(toy.store, toy.settings, (toy.recipes["toy"], before), {})
    assert {t.asset for t in back.tables if t.again} == again, "the other way round it is the same"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a few tiny videos", "some small videos"),
        ("timeout_s: 60", "timeout_s: 90"),
        ("shard: {{videos: 2}}", "shard: {{videos: 3}}"),
    ],
)
def test_what_has_no_effect_remakes_nothing(toy: Toy, old: str, new: str) -> None:
    toy.change(old, new)
    assert toy.stale() == {}
    assert toy.remade() == set()


def test_labels_are_made_of_their_file_and_rules_follow_them(toy: Toy) -> None:
    """A label touches the tables of labels and what names it; it is there as long as its clip is."""
    file = LabelFile(str(toy.root / "labels.jsonl"))
    clips = toy.store.read("clips", SHARDS[0])
    first = clips.filter(pc.equal(clips["status"], "ok"))["clip_id"][0].as_py()
    label = f"labels: {{{{file: '{file.location}'}}}}\nmotion: {{{{fps"
    toy.change("motion: {{fps", label)
    assert toy.remade() == over("labels"), "nothing names one yet"
    file.add([Said(first, "drop", True, "me", "now"), Said("gone_0_1", "drop", True)])
    assert toy.stale()["labels", SHARDS[0]].reasons[0].startswith("file of labels: ")
    assert toy.remade() == over("labels")
    assert toy.store.read("labels", SHARDS[0]).select(["clip_id", "labels", "who"]).to_pylist() == [
        {"clip_id": first, "labels": ["drop"], "who": ["me"]}
    ]
    toy.recipe, whole = toy.recipe.replace("motion: {{fps", label), toy.recipe
    try:
        toy.change('"motion >= 0"', '"motion >= 0", "not label.drop"')
        assert toy.remade() == {SUBSET}
        judged = toy.store.read(*SUBSET)
        dropped = judged.filter(pc.equal(judged["drop_reason"], "not label.drop"))["clip_id"].to_pylist()
        assert dropped == [first], "those that nobody labelled pass"
        toy.recipe = toy.recipe.replace('"motion >= 0"', '"motion >= 0", "not label.drop"')
        toy.change("motion: {{fps: 4}}", "motion: {{fps: 3}}")
        assert {a for a, _ in toy.remade()} == {"motion_scores", "curated_clips"}, (
            "labels stay when a score is made anew"
        )
        file.add([Said(first, "drop", False)])
        assert toy.remade() == {*over("labels", shards=SHARDS), SUBSET}
        assert toy.store.read("labels", SHARDS[0]).num_rows == 0
    finally:
        toy.recipe = whole


def test_a_removed_table_is_made_again_and_nothing_else(toy: Toy) -> None:
    toy.store.storage.remove(toy.store.path("motion_scores", SHARDS[0]))
    assert set(toy.stale()) == {("motion_scores", SHARDS[0]), SUBSET}
    assert toy.remade() == {("motion_scores", SHARDS[0])}


@pytest.mark.parametrize("path", ["nowhere.txt", "s3://bucket/ids.txt"])
@pytest.mark.usefixtures("no_aws_keys")
def test_a_list_that_cannot_be_read_holds_up_its_subset_alone(toy: Toy, path: str) -> None:
    toy.change('>= 0"]', f'>= 0"], exclude: ["{path}"]')
    assert {table: state.state for table, state in toy.stale().items()} == {SUBSET: WAITING}


def test_one_table_is_forced_and_more_workers_change_nothing(toy: Toy) -> None:
    before = toy.tables()
    one = PlanStep("shards", ("captions",), SHARDS[:1])
    toy.run(one, workers=2)
    assert toy.made_since(before) == set()
    toy.run(one, force=True)
    assert toy.made_since(before) == {("captions", SHARDS[0])}


def test_a_plan_says_what_is_made_in_which_ranges_and_why(toy: Toy) -> None:
    toy.change("backend: source", "backend: source, several: join")
    toy.settle()
    (first, *_) = toy.steps
    assert (first.assets, first.keys) == (("captions",), SHARDS)
    assert first.why == "captions is stale"
    made = [(e.outcome.asset, e.key) for e in toy.events if isinstance(e, TableCommitted)]
    assert made[:2] == [("captions", key) for key in SHARDS]
    checked = [e for e in toy.events if isinstance(e, TableChecked) and e.asset == "captions"]
    assert [(e.finding.check, e.key, e.finding.passed) for e in checked] == [("contract", k, True) for k in SHARDS]


def test_every_table_says_what_it_took(toy: Toy) -> None:
    for asset, key in toy.tables():
        header = toy.store.header(asset, key)
        assert header is not None
        assert header.stats.keys() >= {"rows_in", "wall_s", "cpu_s", "peak_rss_mb", "cost"}, asset
    frames = toy.store.read("frames", SHARDS[0])
    header = toy.store.header("frames", SHARDS[0])
    assert header
    assert header.stats["bytes"] == sum(frames["size"].to_pylist()) > 0


def test_the_report_counts_what_the_tables_hold(toy: Toy) -> None:
    report = dataset_report(toy.store, toy.recipes["toy"], toy.settings)
    clips = sum(toy.store.read("clips", k).num_rows for k in SHARDS)
    funnel = {s.name: s.rows for s in report.steps}
    assert funnel == {
        "source rows": 4,
        "videos in the source": 4,
        "videos fetched": 4,
        "clips": clips,
        "clips without a better copy": clips,
    }
    (subset,) = report.subsets
    assert [s.name for s in subset.steps] == ["candidates", "keep", "motion >= 0", "select: all"]
    selected = subset.steps[-1].rows
    assert subset.per_thousand == pytest.approx(report.cost / selected * 1000)
    cpu = {c.asset: c.cpu_s for c in report.costs}
    headers = toy.store.headers("motion_scores")
    assert cpu["motion_scores"] == pytest.approx(sum(h.stats["cpu_s"] for h in headers.values()))
    assert {"dataset_index", "duplicate_clusters", "curated_clips"} <= cpu.keys()
    assert report.cost == pytest.approx(sum(cpu.values()) / 3600 * toy.settings.price_core_hour)
    assert "subset toy-hq" in render_report(report, toy.settings)


def test_a_clip_is_explained_from_its_source_line_to_its_bytes(toy: Toy) -> None:
    clip = toy.store.read("clips", SHARDS[1])["clip_id"][0].as_py()
    sections = list(explain(toy.store, toy.recipes, clip))
    text = {title: dict(lines) for title, lines in sections}
    assert text["video v2 of toy"] == {"shard": SHARDS[1], "source": f"{toy.root}/list.csv line 4", "status": "present"}
    frame = toy.store.read("frames", SHARDS[1]).to_pylist()[0]
    uri = toy.store.storage.uri(frame["tar"])
    assert text["sampled frames"][f"at {frame['time_ms']} ms"] == f"{uri}, {frame['size']} bytes from {frame['offset']}"
    assert text["motion_scores"]["estimator"].startswith("blocks")
    assert text["caption"]["caption"] == "a blue sky"
    assert text["subset toy-hq"] == {clip: "selected, train"}
    whole = {title for title, _ in explain(toy.store, toy.recipes, "v2")}
    assert {"clips", "download", "subset toy-hq"} <= whole
    with pytest.raises(UnknownId, match="no such clip"):
        list(explain(toy.store, toy.recipes, "v2_1_2"))
    with pytest.raises(UnknownId, match="neither a video nor a clip"):
        list(explain(toy.store, toy.recipes, "V2"))


def test_of_a_list_of_rules_only_the_changed_one_is_named() -> None:
    rules = ["keep", "motion between 0.002 and 0.5", "text_area <= 0.02", "blank < 0.1"]
    other = [*rules[:2], "text_area <= 0.2", rules[3]]
    assert list(differences({"where": rules}, {"where": other})) == [
        "where[2]: 'text_area <= 0.02' -> 'text_area <= 0.2'"
    ]
    assert list(differences(rules, [*rules, "sound > 0.9"], "where")) == ["where: [] -> ['sound > 0.9']"]
    assert list(differences(rules, rules[1:], "where")) == ["where: ['keep'] -> []"]
    assert list(differences(["a", "a"], ["a"], "where")) == ["where: ['a'] -> []"]


def test_a_parameter_that_appears_or_goes_is_named_even_if_it_is_null() -> None:
    assert list(differences({"fps": None}, {})) == ["fps: None -> absent"]
    assert list(differences({}, {"clips": {"fps": 2}})) == ["clips: absent -> {'fps': 2}"]


def test_the_command_says_what_is_stale_and_why(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from curation_assets.cli import main

    text = WITHOUT_MODELS.replace("fps: 4", "fps: 5").format(root=toy.root)
    (tmp_path / "toy.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CURATION_STORAGE", toy.settings.storage)
    monkeypatch.setenv("CURATION_RECIPES", str(tmp_path / "toy.yaml"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    for _ in range(2):
        assert main(["stale", "--why"]) == 0
        out = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["asset", "fresh", "stale", "missing", "waiting", "retry"] in out
        assert ["motion_scores", "2"] in out
        assert any(
            row[:3] == ["motion_scores", SHARDS[1], "stale"] and "fps: 4.0 -> 5.0" in " ".join(row) for row in out
        )
        assert ["curated_clips", "toy-hq", "waiting", "waits", "for", "motion_scores"] in out
    monkeypatch.delenv("CURATION_RECIPES")
    assert main(["stale", "toy.yaml"]) == 0
    assert os.environ["CURATION_RECIPES"] == "toy.yaml", (
        "the code location is built of what was named, not of ./recipes"
    )
    monkeypatch.setenv("CURATION_RECIPES", str(tmp_path / "toy.yaml"))
    assert (tmp_path / "home" / "cache").is_dir(), "what was learned is kept for the next call"
    assert main(["explain", "nobody"]) == 2
    assert main(["report", "nothing"]) == 2
    assert main(["report", "toy"]) == 0
    assert "dollars at 0.04 per core-hour, 2 per GPU-hour" in capsys.readouterr().out


@pytest.mark.parametrize("section", [{"dedup": {"step": 6}}, {"dedup": {"center": False}}, {"quality": {"fps": 1.0}}])
def test_what_decides_the_hashes_is_in_their_fingerprint(section: dict[str, Any]) -> None:
    part = component("clip_fingerprints")
    source = {"dataset": "d", "source": {"format": "folder", "path": "x"}}
    assert part.params(Recipe.model_validate(source)) != part.params(Recipe.model_validate({**source, **section}))


@pytest.mark.parametrize(
    ("asset", "section"),
    [
        ("tracks", {"detector": "onnx", "model": "{}/yolo.onnx", "vocabulary": "{}/names.txt"}),
        ("captions", {"backend": "transformers", "model": "{}/vlm"}),
    ],
)
def test_where_weights_lie_is_no_parameter(asset: str, section: dict[str, str]) -> None:
    def params(folder: str) -> Any:
        filled = {k: v.format(folder) for k, v in section.items()}
        source = {"dataset": "d", "source": {"format": "folder", "path": "x"}, asset: filled}
        return SHARDED[asset].params(Recipe.model_validate(source))

    assert params("/here") == params("/there")
