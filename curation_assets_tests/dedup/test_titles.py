"""Other titles before one moving picture tell clips apart, whole or through windows; captions, logos, subtitles and what moves otherwise do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks import copies
from benchmarks.copies import Footage, accepted_pairs, fingerprint, write_footage
from benchmarks.truth import lookalikes
from curation_assets.decode.measures import still
from curation_assets.decode.measures.course import CELLS
from curation_assets.dedup.align import Altered
from curation_assets.dedup.courses import Course
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import ShardInput, update_index
from curation_assets.dedup.second_look import Verdict, verdict
from curation_assets.dedup.titles import apart
from curation_assets.demo.drawing import photographs
from curation_assets.schemas import schema
from curation_resources.storage import Storage

Luma = NDArray[np.uint8]
SIZE = (320, 180)
FONT = cv2.FONT_HERSHEY_DUPLEX
PLACES = {"middle": (70, 100), "upper corner": (4, 24), "below": (70, 160)}


def _moving(seed: int) -> list[Luma]:
    """Sixteen pictures of soft clouds that change."""
    rng = np.random.default_rng(seed)
    return [np.asarray(cv2.resize(rng.uniform(20, 120, (7, 11)), SIZE), np.uint8) for _ in range(16)]


def _clip(pictures: list[Luma], word: str | None, place: str = "middle", scale: float = 0.8) -> Course:
    """A clip of four seconds, with a word before it."""
    written = [p.copy() for p in pictures]
    for picture in written if word is not None else ():
        cv2.putText(picture, word or "", PLACES[place], FONT, scale, (230,), 1, cv2.LINE_AA)
    cells, fine = (
        np.array([cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in written], np.uint8)
        for side in (CELLS, still.SIDE)
    )
    stored = still.still(fine)
    assert stored is not None
    return Course(cells, 4000, (0.0, 0.0, 1.0, 1.0), still.picture(stored))


def _verdict(a: Course, b: Course) -> Verdict:
    return verdict(a, b, Altered.NOT, 1.0, 0)


@given(st.integers(0, 10_000), st.permutations(["Chapter One", "Chapter Three", "Chapter Four", "Chapter Six"]))
@settings(max_examples=15)
def test_another_title_before_a_moving_picture_is_another_clip_whichever_is_first(seed: int, words: list[str]) -> None:
    ground = _moving(seed)
    one, other, again = _clip(ground, words[0]), _clip(ground, words[1]), _clip(ground, words[0])
    assert _verdict(one, other) is _verdict(other, one) is Verdict.OTHER_STANDS
    assert _verdict(one, again) is Verdict.SAME


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("below", ("Chapter One", "Chapter Three")),
        ("upper corner", ("One", "Six")),
        ("middle", ("Chapter One", None)),
    ],
)
def test_subtitles_logos_and_a_caption_of_one_clip_leave_copies(place: str, words: tuple[str, str | None]) -> None:
    ground = _moving(3)
    assert _verdict(*(_clip(ground, word, place, 0.6) for word in words)) is Verdict.SAME


@pytest.mark.parametrize("rows", [(2, 0), (0, 3), (1, 1)])
def test_a_horizon_that_lies_a_part_of_a_cell_elsewhere_is_no_title_and_hides_none(rows: tuple[int, int]) -> None:
    """Rows of 180 are cut away above and below: the horizon moves by a fifth of a cell at most."""
    sea = []
    for k, picture in enumerate(_moving(4)):
        lit = np.asarray(np.linspace(200, 170, SIZE[1])[:, None] - picture // 16, np.uint8)
        lit[80:] = picture[80:] // 2
        lit[:20, 130 + k : 190 + k] = 120
        sea.append(lit)
    cut = [np.asarray(cv2.resize(p[rows[0] : SIZE[1] - rows[1]], SIZE), np.uint8) for p in sea]
    assert _verdict(_clip(sea, None), _clip(cut, None)) is Verdict.SAME
    assert _verdict(_clip(sea, "Chapter One"), _clip(cut, "Chapter Four")) is Verdict.OTHER_STANDS


def test_what_differs_all_the_time_is_told_from_what_moves_and_from_what_lies_elsewhere() -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 120, (16, CELLS, CELLS))
    written = np.zeros((CELLS, CELLS), np.bool_)
    written[7:9, 4:12] = True
    assert ((apart(x, x + 12.0 * written, 1.0) != 0) == written).all()
    assert not apart(x, x + rng.normal(0, 20, x.shape) * written, 1.0).any(), "what moves there moves otherwise"
    assert not apart(x, np.roll(x, 1, axis=2), 1.0).any(), "all of it lies elsewhere"
    assert not apart(x[:3], (x + 12.0 * written)[:3], 1.0).any(), "three spans show no course"


@pytest.mark.parametrize(
    ("kind", "titles"),
    [("titles before a bright panned picture", (0, 2, 3)), ("medium titles before a panned picture", (0, 1, 2, 3))],
)
def test_titles_before_a_panned_picture_do_not_merge_in_the_whole_search(
    kind: str, titles: tuple[int, ...], tmp_path: Path
) -> None:
    """The pictures of a camera that zooms meet in each other's windows, at another time."""
    shot = Footage([cv2.cvtColor(photographs()["china"], cv2.COLOR_RGB2GRAY)], np.zeros(1))
    made = lookalikes.KINDS[kind]([shot])
    clips = {str(k): made[k] for k in titles}
    clips |= {f"{name}|again": replace(clips[name], crf=34) for name in ("2", "3")}
    clips["0|cut"] = copies.ALL["crop to 80 %"](clips["0"])
    rows = []
    for name, clip in clips.items():
        write_footage(clip, tmp_path / "clip.mp4")
        rows += fingerprint(tmp_path / "clip.mp4", name, Dedup())
    table = pa.Table.from_pylist(rows, schema("clip_fingerprints").arrow)
    index = update_index(Storage(str(tmp_path)), "index", [ShardInput("clips", "1", lambda: table)], Dedup())
    found = {frozenset(p) for p in accepted_pairs(index)}
    assert {frozenset((name.split("|")[0], name)) for name in clips if "|" in name} <= found
    assert not {pair for pair in found if len({n.split("|")[0] for n in pair if "cut" not in n}) > 1}
