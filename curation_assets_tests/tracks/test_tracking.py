"""Tracks against ground truth: MOT15 with the package's own evaluation, and generated scenes whose truth is exact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trackers import ByteTrackTracker

from benchmarks.truth import mot
from curation_assets.tracks.track import Hit, Track
from curation_assets.tracks.track_joining import join_pieces
from curation_assets.tracks.track_pieces import TrackPieces
from curation_assets.tracks.tracking import track_clip
from curation_assets.tracks.tracks import Tracks
from curation_assets_tests.moving_objects import COMING_AND_GOING, CROSSING, OCCLUDED, NoisyDetector, Thing, truth
from curation_assets_tests.shared_data import shared
from curation_resources.detectors.base import Detections, iou_matrix

FPS = 8.0
SECONDS = 5.0
MOT15 = ("TUD-Campus", "KITTI-17")
MEASURED_DIRECT = {"TUD-Campus": (0.579, 0.603), "KITTI-17": (0.577, 0.704)}
"""MOTA and IDF1 of the package's ByteTrack with its defaults at each sequence's frame rate."""


def watch(things: Sequence[Thing], detector: NoisyDetector, seconds: float = SECONDS) -> list[tuple[int, Detections]]:
    return [(round(k * 1000 / FPS), detector.see(things, k / FPS)) for k in range(int(seconds * FPS))]


def figures(things: Sequence[Thing], tracks: Sequence[Track], seconds: float = SECONDS) -> mot.Figures:
    rows = []
    for k in range(int(seconds * FPS)):
        seen = truth(things, k / FPS)
        for number, box in zip(seen.ids, seen.boxes.tolist(), strict=True):
            rows.append(",".join(map(str, [k + 1, number + 1, *box, 1])))
    return mot.evaluate(rows, mot.tracked_boxes(tracks, FPS))


def covering(things: Sequence[Thing], track: Track) -> tuple[int, float]:
    """The object that a track follows most of the time, and its mean IoU with it."""
    ious: dict[int, list[float]] = {}
    for time_ms, box in zip(track.times_ms, track.boxes, strict=True):
        seen = truth(things, time_ms / 1000)
        corners = np.concatenate([seen.boxes[:, :2], seen.boxes[:, :2] + seen.boxes[:, 2:]], axis=1)
        own = np.concatenate([box[:2], box[:2] + box[2:]])[None]
        for number, iou in zip(seen.ids, iou_matrix(own, corners)[0].tolist(), strict=True):
            if iou > 0.3:
                ious.setdefault(number, []).append(iou)
    number, values = max(ious.items(), key=lambda pair: len(pair[1]), default=(-1, [0.0]))
    return number, float(np.mean(values))


@pytest.mark.parametrize("name", MOT15)
def test_mot15_is_better_than_the_package_alone(name: str) -> None:
    sequence = mot.load(shared("tracking"), name)
    alone = mot.evaluate(sequence.truth, mot.direct(sequence, ByteTrackTracker(frame_rate=sequence.fps)))
    assert (round(alone.mota, 3), round(alone.idf1, 3)) == MEASURED_DIRECT[name]
    plain, filled = (mot.evaluate(sequence.truth, mot.ours(sequence, Tracks(fill_gaps_s=gap))) for gap in (0.0, 0.5))
    published = json.loads(shared("labels/tracking_published.json").read_text())[name]["SORT_readme"]
    print(f"{name}: package {alone}, ours {plain}, gaps filled {filled}, SORT's README MOTA {published['MOTA']}")
    assert plain.mota >= alone.mota
    assert plain.idf1 >= alone.idf1
    assert plain.switches < alone.switches
    assert filled.mota >= plain.mota
    assert filled.idf1 >= plain.idf1


def test_crowds_are_better_than_the_package_alone() -> None:
    """Scenes that no constant was chosen on."""
    scenes = [mot.generated(seed) for seed in range(901, 913, 2)]
    alone, plain = [], []
    for scene in scenes:
        alone.append(mot.evaluate(scene.truth, mot.direct(scene, ByteTrackTracker(frame_rate=scene.fps))))
        plain.append(mot.evaluate(scene.truth, mot.ours(scene, Tracks())))
    print(f"package {alone}\nours {plain}")
    assert np.mean([f.mota for f in plain]) > np.mean([f.mota for f in alone])
    assert np.mean([f.idf1 for f in plain]) > np.mean([f.idf1 for f in alone])
    assert sum(f.switches for f in plain) <= 0.8 * sum(f.switches for f in alone)


@pytest.mark.parametrize("tracker", ["botsort", "bytetrack", "ocsort"])
def test_every_tracker_follows_what_is_clearly_seen(tracker: Any) -> None:
    perfect = NoisyDetector(jitter=0, miss=0, ghosts=0)
    far_apart = (Thing((10, 10), (40, 10)), Thing((250, 150), (-30, -5), label=1))
    found = figures(far_apart, track_clip(watch(far_apart, perfect), Tracks(tracker=tracker), FPS))
    assert (found.mota, found.idf1, found.switches, found.fragments) == (1.0, 1.0, 0, 0)
    assert len(track_clip(watch(far_apart, perfect, 2 / FPS), Tracks(tracker=tracker), FPS)) == 2


@pytest.mark.parametrize(
    ("name", "things", "switches"),
    [("crossing", CROSSING, 0), ("occluded", OCCLUDED, 1), ("coming and going", COMING_AND_GOING, 0)],
)
def test_noisy_scenes(name: str, things: Sequence[Thing], switches: int) -> None:
    """Over 20 seeds; every twelfth object is missed, and every miss breaks a track unless gaps are filled."""
    plain, filled, ious = [], [], []
    for seed in range(20):
        tracks = track_clip(watch(things, NoisyDetector(seed=seed)), Tracks(), FPS)
        plain.append(figures(things, tracks))
        ious += [covering(things, t)[1] for t in tracks if len(t) >= 8]
        tracks = track_clip(watch(things, NoisyDetector(seed=seed)), Tracks(fill_gaps_s=1.0), FPS)
        filled.append(figures(things, tracks))
    fragments, fragments_filled = (sum(f.fragments for f in figures_) for figures_ in (plain, filled))
    print(
        f"{name}: switches {sum(f.switches for f in plain)}, fragments {fragments} (gaps filled {fragments_filled}),"
        f" MOTA {np.mean([f.mota for f in plain]):.3f}, IDF1 {np.mean([f.idf1 for f in plain]):.3f}, mean IoU {np.mean(ious):.3f}"
    )
    assert sum(f.switches for f in plain) <= switches
    assert fragments_filled <= 0.5 * fragments
    assert np.mean([f.mota for f in plain]) > 0.9
    assert np.mean([f.idf1 for f in plain]) > 0.92
    assert min(ious) > 0.75


def test_a_track_lost_and_found_again_keeps_its_earlier_part() -> None:
    seen = NoisyDetector(jitter=0.01, miss=0, ghosts=0)
    tracks = track_clip(watch(OCCLUDED, seen), Tracks(), FPS)
    assert len(tracks) == 2
    for track in tracks:
        number, iou = covering(OCCLUDED, track)
        absent = OCCLUDED[number].absent
        assert track.times_ms[0] == 0
        assert track.times_ms[-1] > 4500
        assert not any(absent[0] * 1000 <= t < absent[1] * 1000 for t in track.times_ms)
        assert iou > 0.9


def walk(first: int, last: int, x: float, speed: float, height: float = 60, growth: float = 1) -> list[Hit]:
    """Someone who walks straight on, seen from one step of 125 ms to another."""
    hits = []
    for step in range(last - first):
        box = np.asarray([[x + speed * step, 50, 20, height * growth**step]], np.float32)
        sure = np.asarray([0.9], np.float32)
        hits.append(Hit(125 * (first + step), Detections(box, sure, sure[:, None]), 0))
    return hits


def piece(first: int, last: int, x: float, speed: float) -> Track:
    """The same as a track."""
    track = Track()
    for hit in walk(first, last, x, speed):
        track.add(hit)
    return track


def in_pieces(hits: Sequence[Hit]) -> list[Track]:
    """One track of these boxes, cut as the stage cuts it."""
    pieces = TrackPieces(4)
    for hit in hits:
        pieces.add(hit, hit.time_ms - 125)
    assert len(pieces) == len(hits)
    return pieces.finish()


def test_pieces_of_one_track_are_joined_where_only_one_goes_on() -> None:
    """Someone who walks on behind a pillar, faster than a tracker looks for; and two who come out of it, either of whom could be the one."""
    before, after, aside = piece(0, 8, 0, 10), piece(12, 20, 121, 10), piece(12, 20, 119, 10)
    joined = join_pieces([[before], [after]], 1000)
    assert [t.times_ms for t in joined] == [[125 * k for k in (*range(8), *range(12, 20))]]
    assert joined[0].class_statistics()[0] == pytest.approx([0.9])
    before = piece(0, 8, 0, 10)
    assert len(join_pieces([[before], [after], [aside]], 1000)) == 3
    assert len(join_pieces([[piece(0, 8, 0, 10)], [piece(12, 20, 120, 10)]], 400)) == 2
    assert len(join_pieces([[piece(0, 8, 0, 10)], [piece(12, 20, 30, -10)]], 1000)) == 2


def test_a_doubted_first_box_counts_once_its_track_goes_on_from_another() -> None:
    def later(first: int) -> list[Track]:
        doubted, *hits = walk(first, 15, 10.0 * first, 10)
        pieces = TrackPieces(4)
        for hit in hits:
            pieces.add(hit, hit.time_ms - 125)
        return pieces.finish(doubted)

    assert [len(t) for t in join_pieces([later(11)], 1000)] == [3]
    (joined,) = join_pieces([[piece(0, 8, 0, 10)], later(11)], 1000)
    assert joined.times_ms == [125 * k for k in (*range(8), *range(11, 15))]
    assert [float(box[0]) for box in joined.boxes] == [t / 12.5 for t in joined.times_ms]
    (joined,) = join_pieces([[piece(0, 8, 0, 10)], later(7)], 1000)
    assert joined.times_ms == [125 * k for k in range(15)], "of two boxes at one time the earlier track's stays"


def test_tracks_that_were_exchanged_while_they_were_lost_are_joined_anew() -> None:
    """Two pass each other unseen, and the tracker has either go on as the other; where it is right, and where one alone is seen again, it stays."""

    def ways(x_after: float, back: float) -> list[list[Track]]:
        return [
            [piece(0, 8, 0, 10), piece(12, 20, x_after, 10 if x_after > 70 else -10)],
            [piece(0, 8, 150, -10), piece(12, 20, back, -10 if back < 80 else 10)],
        ]

    for exchanged in (False, True):
        on, back = 120.0, 30.0
        joined = join_pieces(ways(back, on) if exchanged else ways(on, back), 1000)
        assert [[t.boxes[0][0], t.boxes[-1][0]] for t in joined] == [[0, on + 70], [150, back - 70]]
    lone = join_pieces([[piece(0, 8, 0, 10), piece(12, 14, 300, 0)]], 1000)
    assert [len(t) for t in lone] == [10]


@pytest.mark.parametrize("height", [40, 90])
def test_a_track_is_cut_where_another_object_takes_it_along(height: float) -> None:
    """Somebody nearer or farther passes; the one of before goes on beside, and each is one track in the end."""
    taken = in_pieces([*walk(0, 8, 0, 10), *walk(8, 16, 90, 12, height)])
    assert [t.times_ms for t in taken] == [[125 * k for k in range(8)], [125 * k for k in range(8, 16)]]
    alone = join_pieces([in_pieces([*walk(0, 8, 0, 10), *walk(8, 16, 90, 12, height)])], 1000)
    assert [len(t) for t in alone] == [16], "where nobody else is there, it stays one"
    joined = join_pieces([taken, in_pieces(walk(12, 20, 120, 10))], 1000)
    assert [{float(b[3]) for b in t.boxes} for t in joined] == [{60}, {height}]
    assert [len(t) for t in joined] == [16, 8]


def test_a_track_is_not_cut_by_boxes_that_are_of_another_size_for_a_moment_or_by_one_who_comes_nearer() -> None:
    for moment in (1, 2):
        hits = [*walk(0, 8, 0, 10), *walk(8, 8 + moment, 80, 10, 90), *walk(8 + moment, 16, 90, 10)]
        assert [len(t) for t in in_pieces(hits)] == [16]
    assert [len(t) for t in in_pieces(walk(0, 24, 0, 10, 60, 1.03))] == [24]


def test_a_track_gone_for_longer_than_the_buffer_ends_unless_its_motion_goes_on() -> None:
    thing = (Thing((10, 90), (20, 0), absent=(1.5, 3.5)),)
    seen = NoisyDetector(jitter=0, miss=0, ghosts=0)
    assert len(track_clip(watch(thing, seen), Tracks(buffer_s=1.0, join_s=0), FPS)) == 2
    assert len(track_clip(watch(thing, seen), Tracks(buffer_s=3.0, join_s=0), FPS)) == 1
    assert len(track_clip(watch(thing, seen), Tracks(buffer_s=1.0, join_s=1.9), FPS)) == 2
    assert len(track_clip(watch(thing, seen), Tracks(buffer_s=1.0, join_s=3.0), FPS)) == 1


def test_gaps_are_filled_at_the_frames_that_were_looked_at() -> None:
    frames = watch(OCCLUDED, NoisyDetector(jitter=0, miss=0, ghosts=0))
    plain = track_clip(frames, Tracks(), FPS)[0]
    track = track_clip(frames, Tracks(fill_gaps_s=1.0), FPS)[0]
    number, iou = covering((Thing((10, 90), (55, 0)), Thing((250, 20), (-30, 10))), track)
    assert track.times_ms == [round(k * 1000 / FPS) for k in range(len(track))]
    assert iou > 0.95
    inferred = [t for t, score in zip(track.times_ms, track.scores, strict=True) if score is None]
    assert inferred
    assert all(OCCLUDED[number].absent[0] * 1000 <= t < OCCLUDED[number].absent[1] * 1000 for t in inferred)
    for ours, theirs in zip(track.class_statistics(), plain.class_statistics(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_appearance_keeps_identities_that_motion_alone_confuses() -> None:
    """Two that meet, stop being seen and turn back: their motion says that they have passed each other."""
    meet = 2.0
    before = (Thing((40, 90), (45, 0), leaves=meet), Thing((240, 90), (-45, 0), leaves=meet, label=1))
    after = (
        Thing((40 + 45 * meet, 90), (-45, 0), enters=meet + 0.4),
        Thing((240 - 45 * meet, 90), (45, 0), enters=meet + 0.4, label=1),
    )
    things = (*before, *after)
    switches = {}
    for appearance in (False, True):
        switches[appearance] = 0
        for seed in range(5):
            detector = NoisyDetector(jitter=0.02, miss=0, ghosts=0.2, features=32, seed=seed)
            frames = []
            for k in range(int(SECONDS * FPS)):
                found = detector.see(things, k / FPS)
                frames.append((round(k * 1000 / FPS), _same_looks(found)))
            tracks = track_clip(frames, Tracks(appearance=appearance), FPS)
            rows = []
            for k in range(int(SECONDS * FPS)):
                seen = truth(things, k / FPS)
                rows += [
                    ",".join(map(str, [k + 1, n % 2 + 1, *b, 1]))
                    for n, b in zip(seen.ids, seen.boxes.tolist(), strict=True)
                ]
            switches[appearance] += mot.evaluate(rows, mot.tracked_boxes(tracks, FPS)).switches
    assert switches[True] == 0
    assert switches[False] >= 5


def _same_looks(found: Detections) -> Detections:
    """Appearance by class, so that the one who returns looks like the one who went."""
    looks = (
        np.stack([np.random.default_rng(7 + int(c)).normal(size=32) for c in found.class_scores.argmax(axis=1)])
        if len(found)
        else np.zeros((0, 32))
    )
    looks /= np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9)
    return Detections(found.boxes, found.scores, found.class_scores, found.objectness, looks.astype(np.float32))


def test_appearance_without_features_is_refused() -> None:
    with pytest.raises(ValueError, match="no appearance features; use owlv2 or grounding-dino"):
        track_clip(watch(CROSSING, NoisyDetector()), Tracks(appearance=True), FPS)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), miss=st.floats(0, 0.5), ghosts=st.floats(0, 2), appearance=st.booleans())
def test_every_box_is_a_detection_of_its_frame_and_in_one_track_only(
    seed: int, miss: float, ghosts: float, appearance: bool
) -> None:
    frames = watch(CROSSING, NoisyDetector(miss=miss, ghosts=ghosts, features=8, seed=seed), 3.0)
    found = {time_ms: {tuple(b) for b in d.boxes.tolist()} for time_ms, d in frames}
    taken = set()
    for track in track_clip(frames, Tracks(appearance=appearance), FPS):
        assert track.times_ms == sorted(set(track.times_ms))
        assert len(track) >= 3
        for time_ms, box in zip(track.times_ms, track.boxes, strict=True):
            key = (time_ms, tuple(box.tolist()))
            assert key[1] in found[time_ms]
            assert key not in taken
            taken.add(key)


def test_uneven_times_move_the_motion_model_by_the_true_time() -> None:
    """A fast small object, seen at irregular moments: with even steps assumed, its boxes would not be where they are expected."""
    thing = (Thing((5, 100), (90, 0), (24, 24)),)
    seconds = np.cumsum([0, 0.12, 0.13, 0.12, 0.13, 0.4, 0.05, 0.38, 0.12, 0.35, 0.05, 0.4, 0.12])
    seen = NoisyDetector(jitter=0, miss=0, ghosts=0)
    tracks = track_clip([(round(1000 * s), seen.see(thing, s)) for s in seconds], Tracks(), FPS)
    assert [len(t) for t in tracks] == [len(seconds)]


def test_statistics_of_a_track() -> None:
    first, second = (
        Detections(
            np.asarray([[0, 0, 10, 10]], np.float32),
            np.asarray([s], np.float32),
            np.asarray([c], np.float32),
            np.asarray([o], np.float32),
            np.asarray([f], np.float32),
        )
        for s, c, o, f in ((0.9, [0.8, 0.2], 1.0, [1, 0]), (0.9, [0.4, 0.6], 0.5, [0, 1]))
    )
    (track,) = track_clip([(0, first), (125, second)], Tracks(), FPS)
    mean, deviation, weighted, weighted_deviation = track.class_statistics()
    np.testing.assert_allclose(mean, [0.6, 0.4], atol=1e-6)
    np.testing.assert_allclose(deviation, [0.2, 0.2], atol=1e-6)
    np.testing.assert_allclose(weighted, [0.5, 0.25], atol=1e-6)
    np.testing.assert_allclose(weighted_deviation, [0.3, 0.05], atol=1e-6)
    assert track.classes == [0, 1]
    embedding = track.embedding()
    assert embedding is not None
    np.testing.assert_allclose(embedding, [2**-0.5, 2**-0.5], atol=1e-6)
