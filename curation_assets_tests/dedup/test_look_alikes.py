"""The second look: clips that look alike but in which other things change are no duplicates, crops and turned copies are, whatever the order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import copies
from benchmarks.copies import Footage, accepted_pairs, fingerprint, write_footage
from benchmarks.truth import lookalikes
from curation_assets.decode.measures import windows
from curation_assets.decode.measures.course import CELLS, course
from curation_assets.dedup.align import Altered
from curation_assets.dedup.clusters import build_clusters
from curation_assets.dedup.courses import Course, Overlay
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.evidence import agreement, unlike
from curation_assets.dedup.index import ShardInput, update_index
from curation_assets.dedup.second_look import Verdict, verdict
from curation_assets.dedup.standing import stands_apart
from curation_assets.demo.drawing import pan, photographs
from curation_assets.schemas import schema
from curation_resources.storage import Storage

WHOLE = (0.0, 0.0, 1.0, 1.0)


@cache
def _footage() -> tuple[Footage, ...]:
    """Camera moves over the demo's photographs, four seconds each, 320 x 180."""
    times = np.arange(100) / 25
    out = []
    photos = photographs()
    for k, name in enumerate(("china", "astronaut", "coffee", "chelsea", "rocket", "flower")):
        shot = pan(photos[name], (0.3, 0.4, 1.0), (0.7, 0.6 - 0.05 * k, 1.4 + 0.1 * k))
        pictures = [np.asarray(cv2.resize(shot(t / 4)[..., 1], (320, 180)), np.uint8) for t in times]
        out.append(Footage(pictures, times * 1000))
    return tuple(out)


def _rows(tmp_path: Path, clips: dict[str, Footage], params: Dedup) -> list[dict[str, object]]:
    rows = []
    for name, footage in clips.items():
        write_footage(footage, tmp_path / "clip.mp4")
        rows += fingerprint(tmp_path / "clip.mp4", name, params)
    return rows


def _pairs(tmp_path: Path, rows: list[dict[str, object]], params: Dedup) -> set[frozenset[str]]:
    table = pa.Table.from_pylist(rows, schema("clip_fingerprints").arrow)
    index = update_index(Storage(str(tmp_path)), "index", [ShardInput("clips", "1", lambda: table)], params)
    return {frozenset(p) for p in accepted_pairs(index)}


@pytest.mark.parametrize(
    "kind",
    [
        "six speakers, one studio",
        "lecturers beside one slide",
        "video call",
        "products on a turntable",
        "takes of one scene",
        "title cards of one template",
    ],
)
def test_what_differs_tells_look_alikes_apart(kind: str, tmp_path: Path) -> None:
    group = {f"{kind}|{k}": clip for k, clip in enumerate(lookalikes.KINDS[kind](_footage()))}
    again = {f"{name}|copy": replace(clip, crf=34) for name, clip in group.items()}
    rows = _rows(tmp_path, group | again, Dedup())
    found = _pairs(tmp_path, rows, Dedup())
    assert found == {frozenset((name, f"{name}|copy")) for name in group}, "each is a duplicate of its own copy alone"


@pytest.mark.parametrize("kind", ["small titles", "names on one picture"])
def test_small_words_tell_most_stills_apart_and_a_logo_none(kind: str, tmp_path: Path) -> None:
    cards = {str(k): clip for k, clip in enumerate(lookalikes.KINDS[kind](_footage())[:4])}
    again = {f"{name}|copy": replace(clip, crf=34) for name, clip in cards.items()}
    logos = {"0|logo": copies.ALL["logo, 1/8 x 1/8"](cards["0"])}
    found = _pairs(tmp_path, _rows(tmp_path, cards | again | logos, Dedup()), Dedup())
    wanted = {frozenset((name.split("|")[0], name)) for name in again | logos}
    assert wanted <= found
    wrong = {pair for pair in found if len({name.split("|")[0] for name in pair}) == 2}
    assert len(wrong) <= 0.25 * (len(cards) * (len(cards) - 1) / 2) * 4, (
        "of each two cards four pairs, without the logo"
    )


def test_what_stands_still_is_found_where_it_fades_in(tmp_path: Path) -> None:
    made = (lookalikes.title_cards, lookalikes.small_titles, lookalikes.slides, lookalikes.names)
    cards = {make.__name__: make(_footage())[0] for make in made}
    faded = {f"{name}|faded": copies.ALL["fade-in from black, 1 s"](card) for name, card in cards.items()}
    found = _pairs(tmp_path, _rows(tmp_path, cards | faded, Dedup()), Dedup())
    assert found == {frozenset((name, f"{name}|faded")) for name in cards}


def test_hashes_alone_merge_takes_of_one_scene(tmp_path: Path) -> None:
    takes = {str(k): clip for k, clip in enumerate(lookalikes.takes(_footage()))}
    params = Dedup(course=False, crops=False)
    assert _pairs(tmp_path, _rows(tmp_path, takes, params), params) == {frozenset(takes)}


@pytest.mark.parametrize("kind", copies.CUTS)
def test_parts_of_the_picture_are_found(kind: str, tmp_path: Path) -> None:
    originals = {str(k): footage for k, footage in enumerate(_footage()[:2])}
    cut = {f"{name}|cut": copies.ALL[kind](footage) for name, footage in originals.items()}
    rows = _rows(tmp_path, originals | cut, Dedup())
    assert _pairs(tmp_path, rows, Dedup()) == {frozenset((name, f"{name}|cut")) for name in originals}


@pytest.mark.parametrize("kind", copies.TURNED)
def test_reversed_and_negative_copies_are_found_when_asked(kind: str, tmp_path: Path) -> None:
    originals = {str(k): footage for k, footage in enumerate(_footage()[:2])}
    made = {f"{name}|{kind}": copies.ALL[kind](footage) for name, footage in originals.items()}
    rows = _rows(tmp_path, originals | made, Dedup())
    pairs = {frozenset((name, f"{name}|{kind}")) for name in originals}
    assert _pairs(tmp_path / "not asked", rows, Dedup()) == set()
    for asked in (Dedup.model_validate({kind: True}), Dedup(reversed=True, negative=True)):
        assert _pairs(tmp_path / "asked", rows, asked) == pairs
    table = pa.Table.from_pylist(rows, schema("clip_fingerprints").arrow)
    shard = ShardInput("clips", "1", lambda: table)
    found = build_clusters(Storage(str(tmp_path / "asked")), "index", [shard], Dedup.model_validate({kind: True}))
    assert {r for r in found.clusters["relation"].to_pylist() if r} == {kind}


def test_a_copy_that_is_not_altered_is_called_a_copy(tmp_path: Path) -> None:
    card = lookalikes.title_cards(_footage())[0]
    clips = {"card": card, "again": replace(card, crf=34)}
    asked = Dedup(flipped=True, reversed=True, negative=True)
    table = pa.Table.from_pylist(_rows(tmp_path, clips, asked), schema("clip_fingerprints").arrow)
    found = build_clusters(Storage(str(tmp_path)), "index", [ShardInput("clips", "1", lambda: table)], asked).clusters
    assert {r for r in found["relation"].to_pylist() if r} == {"copy"}


def test_one_shard_at_a_time_as_all_at_once_and_the_whole_picture_stays(tmp_path: Path) -> None:
    clips = {f"a{k}": clip for k, clip in enumerate(_footage()[:2])}
    clips |= {f"{name}|upright": copies.ALL["9:16 crop"](clip) for name, clip in clips.items()}
    clips |= {f"s{k}": clip for k, clip in enumerate(lookalikes.studio(_footage())[:2])}
    rows = _rows(tmp_path, clips, Dedup())
    for row in rows:
        row["height"] = 1920 if "upright" in str(row["video_id"]) else 1080
    shards = [
        ShardInput(str(r["video_id"]), "1", partial(pa.Table.from_pylist, [r], schema("clip_fingerprints").arrow))
        for r in rows
    ]
    once = build_clusters(Storage(str(tmp_path)), "once", shards, Dedup()).clusters
    for count in range(1, len(shards) + 1):
        stepwise = build_clusters(Storage(str(tmp_path)), "steps", shards[::-1][:count], Dedup()).clusters
    assert stepwise.equals(once)
    fate = {r["video_id"]: (r["relation"], r["duplicate_of"]) for r in once.to_pylist()}
    assert {name for name, (relation, _) in fate.items() if relation == "cropped"} == {"a0|upright", "a1|upright"}
    assert set(fate) == {"a0", "a1", "a0|upright", "a1|upright"}, "the speakers are in no cluster"


def test_one_clip_is_written_and_fingerprinted_the_same_every_time(tmp_path: Path) -> None:
    """Titles before a moving picture: x264's macroblock tree in AVX-512 wrote other bytes now and then, and so other stills."""
    clip = lookalikes.moving_titles(_footage())[0]
    files = [tmp_path / f"{number}.mp4" for number in range(8)]
    for file in files:
        write_footage(clip, file)
    assert len({file.read_bytes() for file in files}) == 1
    with ThreadPoolExecutor(3) as threads:
        rows = list(threads.map(lambda file: fingerprint(file, "clip", Dedup(flipped=True)), files[:4]))
    assert all(row == rows[0] for row in rows[1:])


def _moving(seed: int, spans: int = 12) -> Course:
    rng = np.random.default_rng(seed)
    cells = cv2.resize(rng.uniform(0, 255, (6, 6 * spans)).astype(np.float32), (CELLS * spans, CELLS))
    values = cells.reshape(CELLS, spans, CELLS).transpose(1, 0, 2)
    return Course(np.asarray(np.clip(values, 0, 255), np.uint8), 250 * spans, WHOLE)


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=25)
def test_agreement_does_not_depend_on_which_is_first(a: int, b: int) -> None:
    one, other = _moving(a), _moving(b)
    there, back = agreement(one, other, 1.0, 0), agreement(other, one, 1.0, 0)
    assert there is not None
    assert back is not None
    assert unlike(there) == unlike(back) == (a != b)


def test_reversed_copies_must_agree_more() -> None:
    """Run backwards, every pair has a second chance."""
    one, noise = _moving(3), _moving(4)
    mixed = np.asarray(0.45 * one.cells + 0.55 * noise.cells, np.uint8)
    found = agreement(one, replace(one, cells=mixed), 1.0, 0)
    assert found is not None
    assert unlike(found, backwards=True)
    assert not unlike(found)
    itself = agreement(one, one, 1.0, 0)
    assert itself is not None
    assert not unlike(itself, backwards=True)


def test_clips_that_begin_with_one_black_picture_are_no_reversed_copies() -> None:
    """Run backwards, one ends as the other begins, and more of them is not on each other in time."""
    clips = [_moving(seed, 16) for seed in (3, 4)]
    for clip in clips:
        clip.cells[:5] = 16
        clip.cells[:5, 1, 12:15] = 200
    found = agreement(clips[0].altered_back(Altered.REVERSED), clips[1], 1.0, -11 * 250)
    assert found is not None
    assert not unlike(found), "what both show is the same"
    assert verdict(*clips, Altered.REVERSED, 1.0, -11 * 250) is Verdict.OTHER


def _before_backdrop(speaker: int | None, place: tuple[float, float] = (0.33, 0.3)) -> Course:
    """A backdrop that moves itself, with one before it who moves otherwise, in a third of the width and half of the height."""
    cells = _moving(1).cells.copy()
    if speaker is not None:
        left, top = (round(CELLS * at) for at in place)
        cells[:, top : top + 8, left : left + 6] = _moving(speaker).cells[:, :8, :6]
    return Course(cells, 3000, WHOLE)


def test_speakers_before_one_backdrop_that_moves_are_other_clips_and_one_who_watches_in_a_corner_is_not() -> None:
    for other in range(3, 9):
        assert verdict(_before_backdrop(2), _before_backdrop(other), Altered.NOT, 1.0, 0) is Verdict.OTHER
    assert verdict(_before_backdrop(2), _before_backdrop(2), Altered.NOT, 1.0, 0) is Verdict.SAME
    corner = np.array(_moving(1).cells)
    corner[:, 12:, 12:] = _moving(2).cells[:, :4, :4]
    assert verdict(_before_backdrop(None), Course(corner, 3000, WHOLE), Altered.NOT, 1.0, 0) is Verdict.SAME


def _wheels(turn: float, word: str) -> Course:
    """A moving clip whose still has two wheels with spokes, and a word between them."""
    picture = np.full((180, 320), 90, np.uint8)
    for x in (60, 260):
        for spoke in range(4):
            angle = turn + 90 * spoke
            cv2.ellipse(picture, (x, 60), (44, 44), 0, angle, angle + 45, (235 if spoke % 2 else 20,), -1)
    cv2.putText(picture, word, (70, 115), cv2.FONT_HERSHEY_DUPLEX, 1.2, (230,), 2, cv2.LINE_AA)
    return replace(_moving(3), still=np.asarray(cv2.resize(picture, (96, 96), interpolation=cv2.INTER_AREA), np.uint8))


def test_in_moving_footage_one_line_of_other_letters_tells_apart_and_what_differs_in_places_does_not() -> None:
    """A median over time shows of what turns another moment in each copy; a title is one line, and all else is alike."""
    found = agreement(_moving(3), _moving(3), 1.0, 0)
    assert found is not None
    assert stands_apart(_wheels(0, "Chapter One"), _wheels(0, "Chapter Two"), found)
    assert not stands_apart(_wheels(0, "Chapter One"), _wheels(30, "Chapter One"), found)
    assert not stands_apart(_wheels(0, "Chapter One"), _wheels(0, "Chapter One"), found)


def test_a_fit_excuses_letters_only_if_it_leaves_none() -> None:
    """Slid over it, another title has some of its letters on those of the first; a copy that is cut a little fits as a whole."""

    def titled(word: str, cut: int = 0) -> Course:
        picture = np.asarray(cv2.resize(np.random.default_rng(1).uniform(60, 120, (5, 8)), (640, 360)), np.uint8)
        text, size = f"Chapter {word}", 1.6
        width = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size, 2)[0][0]
        place = (640 - width) // 2, 200
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_DUPLEX, size, (230,), 2, cv2.LINE_AA)
        part = picture[cut : 360 - cut, cut * 16 // 9 : 640 - cut * 16 // 9]
        return replace(_moving(3), still=np.asarray(cv2.resize(part, (96, 96), interpolation=cv2.INTER_AREA), np.uint8))

    found = agreement(_moving(3), _moving(3), 1.0, 0)
    assert found is not None
    for word, other in (("Three", "Four"), ("One", "Four"), ("Four", "Six")):
        assert stands_apart(titled(word), titled(other), found), f"{word}, {other}"
    for word, cut in itertools.product(("One", "Four"), (4, 10)):
        assert not stands_apart(titled(word), titled(word, cut), found), f"{word} cut by {cut} rows"


@pytest.mark.parametrize("change", [lambda c: c // 2 + 60, lambda c: c, lambda c: 255 - c])
def test_gain_and_offset_do_not_matter_but_a_negative_does(change: Callable[..., np.ndarray]) -> None:
    one = _moving(3)
    found = agreement(one, replace(one, cells=np.asarray(change(one.cells), np.uint8)), 1.0, 0)
    assert found is not None
    assert unlike(found) == (int(change(np.uint8(200))) < int(change(np.uint8(100))))


def test_a_course_is_the_mean_of_what_holds() -> None:
    pictures = np.zeros((3, 32, 32), np.uint8)
    pictures[1], pictures[2] = 100, 200
    times = np.array([0, 1000, 3000])
    made = course(pictures, times, 0, 4000)
    assert made.shape == (16, CELLS, CELLS)
    middles = made[:, 5, 5].tolist()
    before, during, after = [0] * 3, [100] * 7, [200] * 4
    assert middles == [*before, 20, *during, 120, *after], "a change begins a tenth of a second before its picture"
    assert course(pictures[:0], times[:0], 0, 1000).shape == (0, CELLS, CELLS)


def test_windows_show_what_crops_show() -> None:
    rng = np.random.default_rng(1)
    frame = np.asarray(cv2.resize(rng.uniform(0, 255, (9, 16)).astype(np.float32), (640, 360)), np.uint8)
    small = cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA)[None]
    made = [copies.ALL[k](Footage([frame], np.zeros(1))).pictures[0] for k in ("square crop", "9:16 crop")]
    for window, crop in zip(windows.windows(16 / 9)[2:4], made, strict=True):
        assert window is not None
        seen = windows.look_through(small, window, 16 / 9)[0].astype(float)
        wanted = cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
        assert np.corrcoef(seen.ravel(), wanted.ravel())[0, 1] > 0.98
    turned = copies.ALL["rotated by 5 degrees"](Footage([frame], np.zeros(1))).pictures[0]
    wanted = cv2.resize(turned, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
    window = windows.windows(16 / 9)[6]
    assert window is not None
    assert np.corrcoef(windows.look_through(small, window, 16 / 9)[0].ravel(), wanted.ravel())[0, 1] > 0.98
    assert windows.windows(1.0)[2] is None, "a square picture's square is the picture"


def test_overlays_name_what_both_show() -> None:
    middle = Overlay.between(WHOLE, (0.25, 0.25, 0.5, 0.5))
    assert middle.common() == WHOLE
    assert middle.back(WHOLE) == (0.25, 0.25, 0.75, 0.75)
