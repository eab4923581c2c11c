"""The cascade finds known transitions exactly, with or without skipped frames, and is as good as the docs say on labelled videos."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from benchmarks.shots import Score, judge, read_labels, run
from curation_assets.decode.clips import Clips
from curation_assets.decode.shots import Cut, CutList, cascade, make_detector
from curation_assets.decode.shots.cascade import CascadeDetector
from curation_assets.decode.shots.cuts import one_per_transition
from curation_assets_tests.decode.shots.videos import Image, Picture, detect, dissolve, fade_through_black, shot
from curation_assets_tests.shared_data import shared


def frames(cuts: CutList) -> list[int]:
    return [c.frame for c in cuts.accepted]


def test_hard_cuts_are_exact_whatever_the_length_of_the_shots() -> None:
    lengths = [30, 3, 4, 12, 40, 7, 25]
    images = [image for seed, length in enumerate(lengths) for image in shot(seed, length)]
    cuts = detect(CascadeDetector(), images)
    assert frames(cuts) == np.cumsum(lengths)[:-1].tolist()
    assert all(
        (c.time_ms, c.kind, c.transition_start, c.transition_end) == (40 * c.frame, "cut", c.frame, c.frame)
        for c in cuts.accepted
    )


def test_clear_cuts_do_not_load_the_network() -> None:
    code = (
        "import sys\n"
        "from curation_assets.decode.shots.cascade import CascadeDetector\n"
        "from curation_assets_tests.decode.shots.videos import detect, shot\n"
        "cuts = detect(CascadeDetector(), [*shot(0, 40), *shot(1, 40)])\n"
        "assert [c.frame for c in cuts] == [40], cuts\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


def test_a_single_shot_with_flashes_has_no_boundary() -> None:
    images = shot(3, 120)
    for at in (20, 21, 60, 90):
        images[at] = cv2.addWeighted(images[at], 0.3, np.full_like(images[at], 255), 0.7, 0)
    assert frames(detect(CascadeDetector(), images)) == []


@pytest.mark.parametrize("length", [8, 16, 30])
def test_a_dissolve_between_moving_shots_is_one_boundary_in_its_middle(length: int) -> None:
    images = dissolve(shot(10, 70), shot(11, 70), length)
    cuts = detect(CascadeDetector(), images)
    (cut,) = cuts.accepted
    first, end = 70 - length, 70
    assert cut.kind == "dissolve"
    assert abs(cut.frame - (first + end) / 2) <= length / 4
    assert abs(cut.transition_start - first) <= max(3, length / 4)
    assert abs(cut.transition_end - end) <= max(3, length / 4)
    assert cuts.stats["network_frames"] < len(images)


@pytest.mark.parametrize("seed", [14, 16, 18])
def test_a_clear_dissolve_is_found_to_its_ends_without_the_network(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "look", lambda *_, **__: pytest.fail("the network was asked"))
    (cut,) = detect(CascadeDetector(), dissolve(shot(seed, 70), shot(seed + 1, 70), 8)).accepted
    assert cut.kind == "dissolve"
    assert cut.score >= 0.94
    assert abs(cut.transition_start - 62) <= 1
    assert abs(cut.transition_end - 70) <= 1


@pytest.mark.parametrize("black", [1, 6, 300])
def test_a_fade_through_black_is_one_boundary_in_the_black(black: int) -> None:
    images = fade_through_black(shot(20, 60), shot(21, 60), 12, black)
    (cut,) = detect(CascadeDetector(), images).accepted
    assert cut.kind == "fade"
    assert 58 <= cut.frame <= 62 + black
    assert abs(cut.frame - (60 + black / 2)) <= 3
    assert cut.time_ms == 40 * cut.frame
    assert abs(cut.transition_start - 48) <= 3
    assert abs(cut.transition_end - (72 + black)) <= 3


def test_black_at_either_end_and_black_flickers_are_no_boundaries() -> None:
    picture = shot(5, 60)
    black = [np.zeros_like(picture[0])]
    images = [*black * 20, *picture[:30], *black * 2, *picture[30:], *black * 30]
    assert frames(detect(CascadeDetector(), images)) == []


def test_memory_does_not_grow_with_the_video() -> None:
    import tracemalloc

    detector = CascadeDetector()
    pictures: list[Image] = shot(7, 50)
    views = [Picture(p) for p in pictures]
    for view in views:
        _ = view.tiny_rgb
    tracemalloc.start()
    for index in range(6000):
        detector.push(index, 40 * index, views[49 - abs(49 - index % 98)])
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_000_000


@pytest.mark.parametrize("count", [0, 1, 2])
def test_videos_of_hardly_any_frames(count: int) -> None:
    for name in ("cascade", "transnetv2"):
        cuts = detect(make_detector(Clips(detector=name), 25.0), shot(0, count))
        assert (frames(cuts), cuts.stats["frames"]) == ([], count)


def test_overlapping_transitions_are_reported_once() -> None:
    hard, soft = Cut(50, 2000, 1.0, "cut", True, 50, 50), Cut(52, 2080, 0.9, "dissolve", True, 45, 60)
    faint = Cut(47, 1880, 0.2, "cut", False, 47, 47)
    assert one_per_transition([soft, faint, hard]) == (faint, hard)


def test_transitions_that_touch_at_their_ends_are_two() -> None:
    """Where they end is an estimate: each keeps its own side, and none reaches into the other."""
    first, second = (Cut(f, 40 * f, 0.9, "dissolve", True, f - 20, f + 20) for f in (50, 84))
    assert [(c.frame, c.transition_start, c.transition_end) for c in one_per_transition([second, first])] == [
        (50, 30, 67),
        (84, 67, 104),
    ]
    again = Cut(65, 2600, 0.8, "dissolve", True, 45, 85)
    assert one_per_transition([first, again]) == (first,)


@pytest.mark.parametrize("length", [10, 14, 25])
def test_two_cuts_with_mixed_frames_around_a_still_page_are_no_dissolve(length: int) -> None:
    """Repeats are left out of what is measured, so that a page of half a second is two pictures there."""
    page = np.full((180, 320, 3), 250, np.uint8)
    cv2.rectangle(page, (0, 0), (319, 22), (0, 0, 0), -1)
    for row in range(50, 160, 20):
        cv2.putText(page, "Million pairs of images", (40, row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1)
    before, after = shot(3, 40), shot(4, 40)
    images = [
        *before,
        cv2.addWeighted(before[-1], 0.5, page, 0.5, 0),
        *[page] * length,
        cv2.addWeighted(page, 0.5, after[0], 0.5, 0),
        *after[1:],
    ]
    cuts = detect(CascadeDetector(), images)
    assert len(cuts.accepted) == 2
    assert all(abs(c.frame - f) <= 1 for c, f in zip(cuts.accepted, (40, 41 + length), strict=True))


@pytest.mark.parametrize("at", [60, 61])
def test_a_cut_to_a_still_page_at_60_frames_a_second(at: int) -> None:
    """Every second frame is left out there, perhaps the page's first, and all that follow repeat it."""
    page = np.full((180, 320, 3), 250, np.uint8)
    cv2.putText(page, "Million pairs of images", (40, 90), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1)
    images = [*shot(3, at), *[page] * 40, *shot(4, 60)]
    cuts = detect(CascadeDetector(fps=60.0), images, [round(1000 * k / 60) for k in range(len(images))])
    assert len(cuts.accepted) == 2
    assert all(abs(c.frame - f) <= 1 for c, f in zip(cuts.accepted, (at, at + 40), strict=True))


def test_labelled_videos() -> None:
    """The figures of docs/explanation/shots.md, on a few of the videos that it lists; the whole table is `python -m benchmarks.shots`."""
    names = ("bikes.mp4", "demo.mp4", "fades.mp4", "ep_s01.mp4", "ep_s03.mp4", "8glWcEuxw3U.1.mp4", "a3B-hWLnsTM.7.mp4")
    labels = {p: truth for p, truth in read_labels(shared("labels").parent).items() if p.name in names}
    assert len(labels) == len(names)
    total = Score()
    for path, truth in labels.items():
        found, _ = run(path, ("cascade",))
        total.add(judge((c.frame for c in found["cascade"][0].accepted), truth))
    assert (total.missed, total.gradual_found, total.gradual) == (0, 7, 7)
    assert total.false <= 1, "the decoder smear of demo.mp4, which the network takes for a cut, too"


def test_cut_lists_fit_the_column() -> None:
    cuts = detect(CascadeDetector(), [*shot(0, 30), *shot(1, 30)])
    row = [
        {"frame": c.frame, "time_ms": c.time_ms, "score": c.score, "kind": c.kind, "accepted": c.accepted} for c in cuts
    ]
    assert json.loads(json.dumps(row)) == row
    assert {**row[0], "score": None} == {"frame": 30, "time_ms": 1200, "score": None, "kind": "cut", "accepted": True}
    assert 0.95 <= row[0]["score"] <= 1
