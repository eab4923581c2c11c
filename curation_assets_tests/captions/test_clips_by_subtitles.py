"""Clips that are cut by subtitles, of videos beside which several tracks lie."""

from __future__ import annotations

from pathlib import Path

from curation_assets.ingest.subtitle_tracks import track_of_each_language
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.site import Site

RECIPE = """
dataset: said
source: {format: folder, path: "ROOT/videos"}
clips: {from: subtitles, min_s: 0.2}
captions: {backend: subtitles, where: [], languages: LANGUAGES}
"""
TRACKS = {
    "de.vtt": "WEBVTT\n\n00:00:00.400 --> 00:00:02.000\nguten Tag\n",
    "en.srt": "1\n00:00:01.000 --> 00:00:01.800\ngood day\n\n2\n00:00:02.000 --> 00:00:03.000\nand night\n",
}


def test_a_clip_is_cut_by_the_track_that_it_is_captioned_with(tmp_path: Path) -> None:
    """German comes first by the files' names; who asks for English had German clips and captions."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos/v.mp4", [40, 40], g="25")
    for ending, text in TRACKS.items():
        (tmp_path / f"videos/v.{ending}").write_text(text)
    site = Site(tmp_path)

    def captions(languages: str) -> list[tuple[str, str]]:
        site.declare(RECIPE.replace("ROOT", str(tmp_path)).replace("LANGUAGES", languages))
        site.index()
        site.settle()
        assert site.failed == []
        return [(r["clip_id"], r["caption"]) for r in site.store.read("captions", "said-00000").to_pylist()]

    german, english = [("v_400_2000", "guten Tag")], [("v_1000_1800", "good day"), ("v_2000_3000", "and night")]
    assert captions("[]") == german
    assert captions("[en]") == english, "what languages are asked for is a parameter of the clips"
    assert captions("[fr, de]") == german


def test_of_tracks_in_one_language_peoples_is_taken() -> None:
    kinds = [("en", True), (None, False), ("de", False), ("en", False), ("de", False), ("fr", True)]
    tracks = [{"language": name, "automatic": automatic, "cues": n} for n, (name, automatic) in enumerate(kinds)]
    assert [t["cues"] for t in track_of_each_language(tracks)] == [3, 1, 2, 5]
