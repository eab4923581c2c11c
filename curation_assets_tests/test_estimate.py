"""What a run would make and take, from what the shards took that are made."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from curation_assets.cli import main
from curation_assets.decode.frames import INPUT_BYTES, INPUT_S
from curation_assets.engine.plan import PlanStep
from curation_assets.estimate import PART_BYTES, WRITES, Line, Range, estimate, not_indexed, total
from curation_assets.estimate_size import Size
from curation_assets.estimate_text import as_json, render, said
from curation_assets.recipes import parse_recipe
from curation_assets.registry import component
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.site import Site
from curation_resources.provenance import Provenance

RECIPE = """
dataset: d
source: {{format: folder, path: {videos}}}
shard: {{videos: 2}}
clips: {{detector: content}}
subsets:
  some: {{select: {{criterion: random, count: 1}}}}
"""
SEEDS = {
    "hdvila": (3_300_000, 0.1125, 31.0),
    "acav100m": (60_000_000, 10 / 3600, 1.0),
    "trackverse": (3_300_000, 0.1125, 31.0),
}
"""Videos, hours of one, clips of one."""
RECIPES = Path(__file__).parents[1] / "recipes" / "examples"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "videos").mkdir()
    for n in range(8):
        (tmp_path / f"videos/v{n}.mp4").write_bytes(sample_video(1.0, seed=n))
    found = Site(tmp_path)
    found.declare(RECIPE.format(videos=tmp_path / "videos"))
    return found


def lines_of(site: Site, size: Size | None = None) -> dict[str, Line]:
    return {line.asset: line for line in estimate(site.store, site.recipes, site.settings, size)}


def test_shards_that_are_made_say_what_the_others_take(site: Site) -> None:
    site.index()
    site.run(PlanStep("shards", ("video_metadata", "raw_shards"), ("d-00000", "d-00001")))
    lines = lines_of(site)
    raw = site.store.headers("raw_shards")
    assert lines["raw_shards"].tables == lines["video_metadata"].tables == 2
    assert lines["clips"].tables == 4
    found = lines["raw_shards"].cpu_s
    assert found is not None
    assert found.mean == pytest.approx(sum(h.stats["cpu_s"] for h in raw.values()))
    assert found.low <= found.mean <= found.high
    stored = lines["raw_shards"].bytes
    assert stored is not None
    assert stored.mean == pytest.approx(sum(h.stats["bytes"] + (h.size or 0) for h in raw.values()))
    assert lines["raw_shards"].writes.mean == pytest.approx(2 * WRITES + stored.mean / PART_BYTES)
    decoded = lines["clips"].cpu_s
    figure = component("clips").figure(site.recipes["d"], None)
    assert decoded is not None
    assert figure is not None
    assert figure.cpu_s is not None
    hours = sum(h.stats["video_s"] for h in raw.values()) * 2 / 3600
    assert (decoded.low, decoded.high) == pytest.approx(tuple(s * hours for s in figure.cpu_s))
    assert lines["motion_scores"].source == "with clips, in one go"
    assert lines["frames"].cpu_s == lines["motion_scores"].cpu_s
    assert lines["frames"].bytes is None, "how many clips there will be is not known"
    known = lines_of(site, Size(clips_per_video=10))["frames"].bytes
    assert known is not None
    assert known.low == pytest.approx(4 * 2 * 10 * 3 * 640 * 360 * 0.18)
    whole = total(list(lines.values()), site.settings)
    assert all(lines[asset].cpu_s is None for asset in whole.unknown)
    assert whole.dollars.low <= whole.dollars.mean <= whole.dollars.high
    free = Settings(price_core_hour=0, price_gpu_hour=0, price_1000_writes=1000, price_1000_reads=0)
    assert total(list(lines.values()), free).dollars == total(list(lines.values()), free).writes
    text = render(list(lines.values()), site.settings)
    assert "2 shards of your own" in text
    assert text.count("?") >= 3 * len(whole.unknown)
    assert f"not in the sum, since nothing is known of what they take: {', '.join(whole.unknown)}" in text


def test_an_export_may_take_over_what_the_version_in_force_has(site: Site, tmp_path: Path) -> None:
    site.declare(
        RECIPE.format(videos=tmp_path / "videos").replace(
            "count: 1}}", "count: 1}, export: {clips: {}, embeddings: {}}}"
        )
    )
    for asset in ("clip_dataset", "embedding_dataset"):
        made = SCHEMAS[asset].empty()
        site.store.commit(asset, "d-some", made, Provenance("1"), {"cpu_s": 60.0, "gpu_s": 8.0, "bytes": 1000})
    site.index()
    lines = lines_of(site)
    clips, arrays = lines["clip_dataset"], lines["embedding_dataset"]
    assert (clips.cpu_s, clips.gpu_s) == (Range(0, 60, 60), Range(0, 8, 8))
    assert clips.bytes is not None
    assert clips.bytes.low == clips.bytes.high, "another version has all of them"
    assert clips.source == "the version in force, or less: clips that come out the same are taken over"
    assert (arrays.cpu_s, arrays.source) == (Range(60, 60, 60), "the version in force")


def test_inputs_of_models_that_the_decode_keeps_are_in_the_plan(site: Site, tmp_path: Path) -> None:
    def frames(more: str) -> Line:
        site.recipes = {"d": parse_recipe(RECIPE.format(videos=tmp_path) + more, "d")}
        return lines_of(site, Size(1000, 0.1, 10.0))["frames"]

    def sizes(line: Line) -> tuple[float, float]:
        assert line.bytes is not None
        return line.bytes.low / count, line.bytes.high / count

    clip = "embeddings: {model: ViT-B-32, pretrained: none}\n"
    count = 1000 * 0.1 * 3600  # a frame a second, which is more than three a clip
    plain, kept, jpeg = (frames(more) for more in ("", clip, clip + "frames: {model_input: jpeg}\n"))
    unkept = frames(clip + "frames: {model_input: none}\n")
    assert plain.beside == unkept.beside == {}
    own = kept.beside["model inputs"]
    assert own.cpu_s == kept.cpu_s, "its other seconds are those of the decode"
    assert own.bytes is not None
    assert own.bytes.low == pytest.approx(count * INPUT_BYTES["zstd"][0])
    (row,) = [line for line in render([kept], site.settings).splitlines() if "of it model inputs" in line]
    assert row.split()[:4] == ["of", "it", "model", "inputs"]
    assert said(own.bytes, 1e-9) in row
    low, high = sizes(plain)
    assert sizes(unkept) == (low, high)
    assert unkept.cpu_s == plain.cpu_s
    assert sizes(kept) == pytest.approx((low + INPUT_BYTES["zstd"][0], high + INPUT_BYTES["zstd"][1]))
    assert sizes(jpeg) == pytest.approx((low + INPUT_BYTES["jpeg"][0], high + INPUT_BYTES["jpeg"][1]))
    assert kept.cpu_s is not None
    assert kept.cpu_s.low == pytest.approx(count * INPUT_S["zstd"][0])
    (tmp_path / "model").mkdir()
    (tmp_path / "model/open_clip_config.json").write_text('{"model_cfg": {"vision_cfg": {"image_size": 448}}}')
    larger = frames(f"embeddings: {{model: {tmp_path}/model, pretrained: none}}\n")
    assert sizes(larger) == pytest.approx((low + 4 * INPUT_BYTES["zstd"][0], high + 4 * INPUT_BYTES["zstd"][1]))
    (tmp_path / "model/open_clip_config.json").write_text("{")
    untold = frames(f"embeddings: {{model: {tmp_path}/model, pretrained: none}}\n")
    assert sizes(untold) == pytest.approx((low, high + INPUT_BYTES["zstd"][1]))
    assert untold.source.endswith("1 of them may not be kept")


def test_a_pilot_of_another_name_says_what_an_hour_takes(site: Site, tmp_path: Path) -> None:
    site.index()
    site.run(PlanStep("shards", ("video_metadata", "raw_shards"), ("d-00000", "d-00001")))
    site.recipes["large"] = parse_recipe(
        RECIPE.format(videos="/nowhere").replace("dataset: d", "dataset: large"), "large"
    )
    lines = {(x.of, x.asset): x for x in estimate(site.store, site.recipes, site.settings, Size(1000, 2.0, 30.0))}
    found = lines["large", "raw_shards"]
    assert found.source == "2 shards of d, by the hour"
    raw = site.store.headers("raw_shards")
    seconds, videos = sum(h.stats["video_s"] for h in raw.values()), sum(h.rows for h in raw.values())
    per_hour = sum(h.stats["cpu_s"] / h.rows for h in raw.values()) / len(raw) / (seconds / videos / 3600)
    assert found.cpu_s is not None
    assert found.cpu_s.mean == pytest.approx(per_hour * 2000)


def test_before_anything_is_indexed_the_size_is_given(site: Site) -> None:
    lines = lines_of(site)
    assert "clips" not in lines, "without an index nobody knows how many shards there will be"
    lines = lines_of(site, Size(3_300_000))
    assert lines["clips"].tables == 1_650_000
    assert lines["clips"].cpu_s is None
    assert lines["clips"].source.endswith("give --hours-per-video")
    clips = lines_of(site, Size(3_300_000, hours_per_video=0.1))["duplicate_clusters"].source
    assert clips.endswith("give --clips-per-video"), "what was given is not asked for"
    few, many = (lines_of(site, Size(n, 0.1125, 31.0)) for n in (30_000, 3_300_000))
    for asset, power in (("clips", 1.0), ("dataset_index", 1.0), ("curated_clips", 1.0), ("duplicate_clusters", 1.35)):
        small, large = few[asset].cpu_s, many[asset].cpu_s
        assert small is not None
        assert large is not None
        beyond = 3_300_000 * 31 / 1e6 if power > 1 else 1.0
        assert large.low / small.low == pytest.approx(110 * beyond ** (power - 1))


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_are_estimated_and_what_is_not_known_is_named(name: str, tmp_path: Path) -> None:
    site = Site(tmp_path)
    text = (RECIPES / f"{name}.yaml").read_text()
    site.recipes = {name: parse_recipe(text, name)}
    lines = list(estimate(site.store, site.recipes, site.settings, Size(*SEEDS[name], selected=0.5)))
    whole = total(lines, site.settings)
    assert whole.core_hours.low > 1000
    assert "raw_shards" in whole.unknown, "what a download from a site takes was not measured"
    assert (whole.gpu_hours.mean > 0) == (name == "trackverse")
    assert ("clip_dataset" in whole.unknown) == (name == "trackverse"), (
        "encoding with the defaults was measured, blurring was not"
    )
    for line in lines:
        assert line.source
        assert (line.dollars is None) == (line.cpu_s is None or line.gpu_s is None)
        assert line.cpu_s is None or line.cpu_s.low <= line.cpu_s.mean <= line.cpu_s.high


def test_a_source_that_nobody_has_indexed_is_named_and_not_called_done(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.yaml").write_text(RECIPE.format(videos=tmp_path / "videos"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    for name, value in (("STORAGE", site.settings.storage), ("RECIPES", "d.yaml")):
        monkeypatch.setenv(f"CURATION_{name}", value)
    assert main(["plan", "--exit-code"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("d: its source is not indexed yet")
    assert "nothing is to be made" not in said
    site.index()
    assert not_indexed(site.store, ["d", "other"]) == ["other"]


def test_numbers_are_said_in_three_digits() -> None:
    from curation_assets.estimate import Range

    assert said(None) == "?"
    assert said(Range(1.0, 1.0, 1.0), 2) == "2"
    assert said(Range(1234.0, 123_456.0, 0.00001)) == "123,000 (1,230 to <0.001)"


def test_requests_are_counted_in_whole_numbers(site: Site) -> None:
    site.index()
    found = list(estimate(site.store, site.recipes, site.settings, Size(clips_per_video=10)))
    whole = total(found, site.settings)
    assert whole.writes.mean % 1, "a mean, which is none"
    (line,) = [t for t in render(found, site.settings).splitlines() if t.startswith("on a bucket")]
    assert re.fullmatch(r"on a bucket [\d,]+( \([\d,]+ to [\d,]+\))? writing and [\d,]+ reading requests", line), line
    for one in (*found, whole):
        told = json.loads(as_json(one))
        assert all(isinstance(n, int) for name in ("writes", "reads") for n in told[name].values())
