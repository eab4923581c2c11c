"""Exports as video2dataset makes them, by the graph on small videos: sound beside pictures, its JSON, whole videos with their shots, chosen columns.

That its own loader reads them is in `readers/test_video2dataset.py`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources import SourceRow, read_source
from curation_assets.ingest.sources.video2dataset import spans_of, subtitles_of
from curation_assets.publish.clip_dataset import SOUNDS, ClipExport
from curation_assets.recipes import RecipeError, parse_recipe
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.frame_numbers import number_in
from curation_assets_tests.publish.cutting.test_clip_cutting import cut, make, with_sound
from curation_assets_tests.site import Site

SHOTS, CLICKS = [60, 50, 40], [0.5, 2.6, 5.0]
CUES = "WEBVTT\n\n00:00:00.500 --> 00:00:03.000\nhello there\n\n00:00:05.000 --> 00:00:06.000\nlate\n"
EXPORT = "clips: {members: {video: mp4, audio: wav}, metadata: video2dataset, preset: ultrafast, crf: 30}"
RECIPE = """
dataset: NAME
source: {format: folder, path: "ROOT/videos"}
clips: CLIPS
captions: {backend: subtitles, where: []}
subsets:
  out: {export: {EXPORT}}
"""
LISTED = """
dataset: listed
source: {format: table, path: ROOT/list.csv, columns: {id: id, url: url, caption: caption}}
clips: {from: whole}
subsets:
  some: {export: {clips: {format: parquet, columns: [motion, source.genre, frame_count, file_size, title], preset: ultrafast}}}
  every: {export: {clips: {format: folder, columns: all, preset: ultrafast}}}
  usual: {export: {clips: {format: parquet, preset: ultrafast}}}
"""


def write_videos(folder: Path) -> None:
    folder.mkdir()
    silent = write_video(folder.parent / "silent.mp4", SHOTS, g="25", bf="2")
    with_sound(silent, folder / "v0.mp4", CLICKS, 6.0)
    (folder / "v0.json").write_text(json.dumps({"title": "A title", "views": 12, "url": "https://example.org/v0"}))
    (folder / "v0.en.vtt").write_text(CUES)
    (folder / "v0.en.srt").write_text(CUES.removeprefix("WEBVTT\n\n").replace(".", ","))
    write_video(folder / "mute.mp4", [40], g="25")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Everything published: `shots`, clips between cuts; `uncut`, whole videos; `listed`, one of a table."""
    root = tmp_path_factory.mktemp("site")
    write_videos(root / "videos")
    (root / "list.csv").write_text(f"id,url,genre,caption\nv,{root}/videos/mute.mp4,jazz,words\n")
    how = {"shots": "{detector: content, min_s: 0.4}", "uncut": "{from: whole, cuts: true, detector: content}"}
    recipes = [RECIPE.replace("CLIPS", clips).replace("NAME", name) for name, clips in how.items()]
    made = Site(root)
    made.declare(*(r.replace("ROOT", str(root)).replace("EXPORT", EXPORT) for r in (*recipes, LISTED)))
    made.index()
    made.settle()
    assert made.failed == []
    return made


def version(site: Site, key: str) -> Path:
    """The folder of the version in force."""
    header = site.store.header("clip_dataset", key)
    assert header is not None
    return Path(header.stats["folder"])


def samples_of(site: Site, key: str) -> dict[str, dict[str, Any]]:
    """Key -> members of a sample, its JSON read."""
    tars = sorted(str(p) for p in version(site, key).glob("*.tar"))
    samples = {s["__key__"]: s for s in webdataset.WebDataset(tars, shardshuffle=False)}
    return {k: {**s, "json": json.loads(s["json"])} for k, s in samples.items()}


def clicks_in(path: str | Path) -> tuple[list[float], float]:
    """When tones begin, and when the sound ends, seconds, of a file of any sample format."""
    with av.open(str(path)) as sound:
        rate, to_float = sound.streams.audio[0].rate, av.AudioResampler("fltp", "mono")
        parts = [f.to_ndarray()[0] for frame in sound.decode(audio=0) for f in to_float.resample(frame)]
    signal = np.concatenate(parts)
    loud = np.flatnonzero(np.abs(signal) > 0.25) / rate
    return [float(t) for i, t in enumerate(loud) if i == 0 or t - loud[i - 1] > 0.1], len(signal) / rate


def pictures(mp4: bytes) -> Iterator[int]:
    with av.open(io.BytesIO(mp4)) as clip:
        assert not clip.streams.audio
        yield from (number_in(f.to_ndarray(format="gray")) for f in clip.decode(video=0))


def test_clips_have_their_sound_beside_and_what_video2dataset_says(site: Site, tmp_path: Path) -> None:
    samples = samples_of(site, "shots-out")
    assert sorted(samples) == ["mute_0_1600", "v0_0_2400", "v0_2400_4400", "v0_4400_6000"]
    assert "wav" not in samples["mute_0_1600"], "a video without sound"
    starts = {"v0_0_2400": [0.5], "v0_2400_4400": [0.2], "v0_4400_6000": [0.6]}
    for n, (key, clicks) in enumerate(starts.items()):
        sample, said = samples[key], samples[key]["json"]
        first = sum(SHOTS[:n])
        assert list(pictures(sample["mp4"])) == list(range(first, first + SHOTS[n]))
        (tmp_path / "sound.wav").write_bytes(sample["wav"])
        found, seconds = clicks_in(tmp_path / "sound.wav")
        assert found == pytest.approx(clicks, abs=0.003)
        assert seconds == pytest.approx(SHOTS[n] / 25, abs=1e-4)
        assert said["clips"] == [[first / 25, (first + SHOTS[n]) / 25]]
        assert said["cuts"] == {"original_fps": 25.0, "cuts_original_fps": [[0, 60], [60, 110], [110, 150]]}
        assert (said["status"], said["error_message"], said["key"]) == ("success", None, key)
        assert said["requested"] == said["clips"][0]
        assert said["yt_meta_dict"]["info"]["views"] == 12
    lines = {k: [(c["start"], c["end"], c["lines"]) for c in samples[k]["json"]["clip_subtitles"]] for k in starts}
    hello, late = (
        ("00:00:00.500", "00:00:03.000", {"en": ["hello there"]}),
        ("00:00:05.000", "00:00:06.000", {"en": ["late"]}),
    )
    assert lines == {"v0_0_2400": [hello], "v0_2400_4400": [hello], "v0_4400_6000": [late]}


def test_whole_videos_have_their_shots_and_come_in_again_with_them(site: Site) -> None:
    samples = samples_of(site, "uncut-out")
    assert sorted(samples) == ["mute_0_1600", "v0_0_6000"]
    said = samples["v0_0_6000"]["json"]
    assert list(pictures(samples["v0_0_6000"]["mp4"])) == list(range(150))
    assert said["cuts"] == {"original_fps": 25.0, "cuts_original_fps": [[0, 60], [60, 110], [110, 150]]}
    assert "clips" not in said
    lines = said["yt_meta_dict"]["subtitles"]
    assert {k: [c["lines"] for c in v] for k, v in lines.items()} == {"en": [["hello there"], ["late"]]}
    (clip,) = [c for c in site.store.read("clips", "uncut-00000").to_pylist() if c["video_id"] == "v0"]
    assert [(s["start_frame"], s["end_frame"]) for s in clip["shots"]] == [(0, 60), (60, 110), (110, 150)]

    source = Source.model_validate({"format": "webdataset", "path": str(version(site, "uncut-out"))})
    rows = {r.video_id: r for r in read_source(source, site.store.storage) if isinstance(r, SourceRow)}
    assert sorted(rows) == ["mute_0_1600", "v0_0_6000"]
    assert [s[1:] for s in rows["v0_0_6000"].spans] == [(0, 2400), (2400, 4400), (4400, 6000)]


def test_what_is_said_of_a_clip_is_read_back_as_video2datasets(site: Site) -> None:
    said = samples_of(site, "shots-out")["v0_2400_4400"]["json"]
    assert spans_of(said) == [("v0_2400_4400", 0, 2000)]
    assert subtitles_of(said) == {"en": [{"start_ms": 0, "end_ms": 600, "text": "hello there"}]}
    assert said["url"] == "v0.mp4", "a file that lies here, below the recipe's folder"


def test_sound_of_every_format_is_that_of_the_span(tmp_path: Path) -> None:
    path = with_sound(write_video(tmp_path / "silent.mp4", [75]), tmp_path / "v.mp4", [1.0, 2.5], 3.0)
    one = cut("s", 800, 2800, 20, 70)
    for ending in SOUNDS:
        for rate in (None, 16_000):
            way = "copy" if rate is None else "exact"
            how: dict[str, Any] = {"members": {"audio": ending}, "audio_rate": rate, "cut": way, "crf": 40}
            clip, again = (make(path, [one], tmp_path / f"{ending}-{rate}-{n}", **how)["s"] for n in range(2))
            assert clip.error is None
            found, seconds = clicks_in(clip.sound or "")
            begins, ends = (clip.start_ms or 0) / 1000, (clip.end_ms or 0) / 1000
            assert begins == (0 if way == "copy" else 0.8)
            slack = 0.06 if ending == "mp3" else 0.003  # whose delay is not said in the file
            assert found == pytest.approx([1.0 - begins, 2.5 - begins], abs=slack), (ending, rate)
            assert seconds == pytest.approx(ends - begins, abs=1e-3 if ending in ("wav", "flac") else 0.1)
            assert Path(clip.sound or "").read_bytes() == Path(again.sound or "").read_bytes()
            with av.open(clip.sound or "") as sound:
                heard = sound.streams.audio[0].rate
            assert heard == (48_000 if ending == "opus" else rate or 44_100), "Opus is decoded at 48 kHz always"


def test_chosen_columns_stand_in_lists_and_json(site: Site) -> None:
    table = pq.read_table(version(site, "listed-some") / "metadata.parquet")
    assert table.column_names[-5:] == ["motion", "source.genre", "frame_count", "file_size", "record"]
    (row,) = table.to_pylist()
    (moved,) = site.store.read("motion_scores", "listed-00000").to_pylist()
    size = (site.root / "videos" / "mute.mp4").stat().st_size
    wanted = {"motion": moved["motion"], "source.genre": "jazz", "frame_count": 40, "file_size": size}
    assert {name: row[name] for name in wanted} == wanted
    assert json.loads(row["record"])["columns"] == wanted
    usual = pq.read_table(version(site, "listed-usual") / "metadata.parquet")
    assert {"motion", "sharpness", "keep"} <= set(usual.column_names)
    no_such_table = {"source.genre", "aesthetic", "text_area"}
    assert not no_such_table & set(usual.column_names)
    assert usual["motion"].to_pylist() == [moved["motion"]]
    assert "columns" not in json.loads(usual["record"][0].as_py())
    with open(version(site, "listed-every") / "metadata.csv", newline="") as file:
        (said,) = csv.DictReader(file)
    assert float(said["motion"]) == moved["motion"]
    assert said["source.genre"] == "jazz"


def test_sound_that_begins_within_a_clip_is_heard_where_it_is(tmp_path: Path) -> None:
    """A file of sound has no times, so what lies before is silence; without it a tone at 1.5 s was heard at 0.3 s."""
    path = with_sound(write_video(tmp_path / "silent.mp4", [75]), tmp_path / "v.mp4", [1.5, 2.5], 3.0, start_s=1.2)
    for ending in SOUNDS:
        clip = make(path, [cut("s", 0, 2800, 0, 70)], tmp_path / ending, members={"audio": ending}, crf=40)["s"]
        found, seconds = clicks_in(clip.sound or "")
        assert found == pytest.approx([1.5, 2.5], abs=0.06 if ending == "mp3" else 0.003), ending
        assert seconds == pytest.approx(2.8, abs=1e-3 if ending in ("wav", "flac") else 0.1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("columns: [motoin]", "export.clips.columns[0]: no table has the column 'motoin'; did you mean motion?"),
        ("members: {audio: m4a}, audio: false", "`members.audio` keeps the sound, and `audio: false` keeps none"),
        ("cut: copy, audio_rate: 16000", "audio_rate needs cut: exact"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(wrong: str, said: str) -> None:
    text = f"dataset: seen\nsource: {{format: folder, path: x}}\nsubsets: {{out: {{export: {{clips: {{{wrong}}}}}}}}}\n"
    with pytest.raises(RecipeError, match=said.replace("[", r"\[").replace("?", r"\?")):
        parse_recipe(text, "seen.yaml")


@pytest.mark.parametrize(
    ("clips", "said"),
    [
        ("{from: whole, detector: content}", "with `cuts: true` it does"),
        ("{from: fixed, threshold: 3}", "looks for no shots, so leave out threshold"),
        ("{cuts: true}", "`cuts` is for `from: whole`"),
    ],
)
def test_a_detector_that_would_not_run_is_an_error(clips: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parse_recipe(f"dataset: seen\nsource: {{format: folder, path: x}}\nclips: {clips}\n", "seen.yaml")


def test_exports_of_before_are_compared_by_the_same() -> None:
    assert not {"members", "metadata", "columns", "options"} & ClipExport().model_dump().keys()
    assert ClipExport(members={"audio": "wav"}).model_dump()["members"] == {"video": "mp4", "audio": "wav"}  # type: ignore[arg-type]
