"""The frames of a clip are those that its row names, whatever the file does with time."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from curation_assets.decode.analysis import analyse_video
from curation_assets.decode.analysis_results import AnalysisParams, VideoAnalysis, VideoFacts
from curation_assets.decode.clips import Clips
from curation_assets.decode.frames import Frames
from curation_assets.decode.reading.media import OpenVideo
from curation_assets.decode.reading.reader import every_frame
from curation_assets.decode.reading.shown_frames import Decoding
from curation_assets.decode.reading.sparse_reader import sparse_frames
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.frame_numbers import number_in
from curation_assets_tests.shared_data import shared

SHOTS = (60, 75, 64)


def analyse(path: Path, tables: tuple[str, ...] = ("clips", "frames"), **clips: object) -> tuple[VideoAnalysis, bytes]:
    params = AnalysisParams(clips=Clips.model_validate({"min_s": 0.5, **clips}), frames=Frames(fps=2))
    with tempfile.TemporaryFile() as spool:
        analysis = analyse_video(path, params, VideoFacts("d", "v"), tables, spool)
        spool.seek(0)
        return analysis, spool.read()


def ffmpeg_times(path: Path) -> list[Fraction]:
    """Presentation times in seconds as a plain decode gives them."""
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


def jpeg(spool: bytes, row: dict) -> np.ndarray:
    data = np.frombuffer(spool[row["offset"] : row["offset"] + row["size"]], np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


VARIABLE = np.cumsum(np.random.default_rng(3).choice([20, 33, 40, 80], sum(SHOTS))).tolist()
FILES = {
    "23.976": {"rate": Fraction(24000, 1001), "bf": "3"},
    "25": {"bf": "0"},
    "29.97": {"rate": Fraction(30000, 1001), "bf": "2", "b-pyramid": "none"},
    "60": {"rate": Fraction(60), "bf": "8", "g": "400"},
    "variable": {"times": VARIABLE, "time_base": Fraction(1, 1000), "bf": "3"},
    "variable, mkv": {"times": VARIABLE, "time_base": Fraction(1, 1000), "bf": "3", "container": "matroska"},
    "late start": {"times": list(range(250, 250 + sum(SHOTS))), "bf": "3"},
    "transport stream": {"container": "mpegts", "bf": "3"},
    "no cut at a key frame": {"sc_threshold": "0", "g": "400", "bf": "5", "b-adapt": "0"},
    "open groups": {"x264-params": "open-gop=1:keyint=20:bframes=3"},
    "mpeg4": {"codec": "mpeg4", "bf": "2"},
    "vp9": {"codec": "libvpx-vp9", "container": "webm", "deadline": "realtime", "cpu-used": "8"},
}


@pytest.fixture(scope="module", params=FILES)
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", SHOTS, **FILES[request.param])


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_clips_begin_and_end_at_the_frames_that_their_rows_name(video: Path, mode: str) -> None:
    detector = "cascade" if mode == "fast" else "content"
    analysis, spool = analyse(video, mode=mode, detector=detector)
    clips = sorted(analysis.rows["clips"], key=lambda r: r["start_frame"])
    starts = np.cumsum([0, *SHOTS])
    assert [(r["start_frame"], r["end_frame"]) for r in clips] == list(pairwise(starts))
    times = ffmpeg_times(video)
    for row in clips:
        assert row["start_ms"] == int(1000 * (times[row["start_frame"]] - times[0]) + Fraction(1, 2))
        assert row["end_ms"] == (clips[clips.index(row) + 1]["start_ms"] if row is not clips[-1] else row["end_ms"])
    assert clips[-1]["end_ms"] - 1000 * float(times[-1] - times[0]) == pytest.approx(40, abs=41)
    assert analysis.rows["frames"]
    for row in analysis.rows["frames"]:
        assert number_in(jpeg(spool, row)) == row["frame"]
        assert row["time_ms"] == int(1000 * (times[row["frame"]] - times[0]) + Fraction(1, 2))


def test_every_frame_is_shown_once_at_its_place(video: Path) -> None:
    with OpenVideo(video) as opened:
        if opened.context.name != "h264" or (opened.context.extradata or b"\0")[0] != 1:
            pytest.skip("only H.264 with length-prefixed units is decoded sparsely")
        found = Decoding()
        shown = [
            (s.index, s.time_ms, number_in(s.picture.luma), s.picture.interpolated)
            for s in sparse_frames(opened, found)
        ]
    with OpenVideo(video) as opened:
        full = [(s.index, s.time_ms) for s in every_frame(opened, Decoding(), exact=True)]
    assert [s[:2] for s in shown] == full
    assert all(number == index for index, _, number, blended in shown if not blended)
    assert found.blended == sum(blended for *_, blended in shown)
    # The frames on both sides of every cut were decoded, not blended.
    decoded = {index for index, *_, blended in shown if not blended}
    assert {c + k for c in np.cumsum(SHOTS)[:-1].tolist() for k in (-1, 0)} <= decoded


def test_frames_between_references_are_left_out() -> None:
    with OpenVideo(shared("videos/test_video.mp4")) as opened:
        found = Decoding()
        for shown in sparse_frames(opened, found):
            assert shown.frame is None or not shown.picture.interpolated
    assert found.decoded < 1000
    assert found.timeline is not None
    assert len(found.timeline) == 3678


def test_reference_frames_are_bit_for_bit_those_of_a_full_decode() -> None:
    path = shared("assembled/ep_s01.mp4")
    with av.open(str(path)) as container:
        full = {f.pts: f.to_ndarray() for f in container.decode(video=0)}
    faithful = 0
    with OpenVideo(path) as opened:
        for shown in sparse_frames(opened, Decoding()):
            if shown.faithful and shown.frame is not None:
                faithful += 1
                assert np.array_equal(shown.frame.to_ndarray(), full[shown.frame.pts])
    assert faithful > 150


@pytest.mark.parametrize(
    ("stored", "turned"), [(0, (320, 180)), (90, (180, 320)), (180, (320, 180)), (270, (180, 320))]
)
def test_rotation_is_applied_to_samples_and_to_the_analysis(
    tmp_path: Path, stored: int, turned: tuple[int, int]
) -> None:
    path = write_video(tmp_path / "v.mp4", (40,), rotation=stored)
    analysis, spool = analyse(path, **{"from": "whole"})
    assert {(r["width"], r["height"]) for r in analysis.rows["clips"]} == {turned}
    row = analysis.rows["frames"][0]
    upright = np.rot90(jpeg(spool, row), -stored // 90)  # the display turns counterclockwise; turn back
    assert (row["width"], row["height"]) == turned
    assert number_in(upright) == row["frame"]
    with OpenVideo(path) as opened:
        first = next(iter(every_frame(opened, Decoding(), exact=True))).picture
    assert first.luma.shape == turned[::-1]
    assert first.bgr is not None
    assert first.bgr.shape[0] / first.bgr.shape[1] == pytest.approx(turned[1] / turned[0], rel=0.02)


def test_pixel_aspect_is_corrected() -> None:
    analysis, spool = analyse(shared("videos/issue-195-aspect-ratio.mp4"))
    assert {(r["width"], r["height"]) for r in analysis.rows["clips"]} == {(1024, 576)}
    assert {jpeg(spool, r).shape for r in analysis.rows["frames"]} == {(384, 683)}


def test_fast_decoding_moves_no_labelled_cut() -> None:
    for name in ("videos/bikes.mp4", "assembled/ep_s01.mp4", "panda/8glWcEuxw3U.1.mp4"):
        path = shared(name)
        frames = []
        for sparse in (True, False):
            from curation_assets.decode.shots import make_detector

            with OpenVideo(path) as opened:
                detector = make_detector(Clips(), float(opened.rate))
                for s in sparse_frames(opened, Decoding()) if sparse else every_frame(opened, Decoding(), exact=True):
                    detector.push(s.index, s.time_ms, s.picture)
            frames.append([c.frame for c in detector.finish().accepted if c.kind == "cut"])
        assert frames[0] == frames[1] != []


def test_short_clips_have_samples_near_their_places() -> None:
    analysis, _ = analyse(shared("panda/8glWcEuxw3U.1.mp4"), min_s=2)
    for clip in (r for r in analysis.rows["clips"] if r["status"] == "ok"):
        positions = [r["position"] for r in analysis.rows["frames"] if r["clip_id"] == clip["clip_id"]]
        for place in (0.1, 0.5, 0.9):
            assert min(abs(p - place) for p in positions) <= 0.2


@pytest.mark.parametrize("name", ["videos/bikes.mp4", "videos/issue-195-aspect-ratio.mp4", "panda/a3B-hWLnsTM.7.mp4"])
@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_exact_mode_has_the_boundaries_of_pyscenedetect(name: str, detector: str) -> None:
    import scenedetect

    path = shared(name)
    own = {"content": scenedetect.ContentDetector, "adaptive": scenedetect.AdaptiveDetector}[detector]()
    expected = [scene[0].frame_num for scene in scenedetect.detect(str(path), own)[1:]]
    analysis, _ = analyse(path, ("clips",), mode="exact", detector=detector)
    cuts = next(r["cut_list"] for r in analysis.rows["clips"] if "cut_list" in r)
    assert [c["frame"] for c in cuts if c["accepted"]] == expected != []
