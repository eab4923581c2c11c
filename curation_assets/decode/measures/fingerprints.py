"""Perceptual hashes of a clip's frames, made while its video is decoded once.

The hash is imagededup's, of the picture inside flat bars, at 32x32 pixels. A perceptual hash of a moving scene changes within a
tenth of a second, so samples on a coarse grid do not meet those of a trimmed copy. Frames are therefore looked at on a fine grid
and a hash is *kept when the picture has changed* (by more than `Hashing.step` bits since the last one kept): the kept hashes cover
the whole course of the clip to within `step` bits, whatever the offset or speed of a copy, and a still scene costs three.
A kept hash holds until the next one's time.

What belongs here: looking at pictures. What does not: comparing clips (`dedup`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.measures import still, windows
from curation_assets.decode.measures.areas import squared
from curation_assets.decode.measures.content import WHOLE, Box, RecentBoxes, content_box, union_of
from curation_assets.decode.measures.course import course
from curation_assets.decode.measures.hashing import Hashing
from curation_assets.decode.measures.picture_hashes import METHODS, SIDE, Hashes, block_means
from curation_assets.decode.measures.records import Records
from curation_resources.compiled import compiled

Luma = NDArray[np.uint8]
Tones = tuple[int, int, int, int]

BOX_MEMORY: Final = 64
"""Pictures are cut to the union of the content of so many recent frames, so that a dark frame does not lose its dim edges."""

BLANK_DEVIATION: Final = 4.0
"""A picture whose luma has a smaller standard deviation (of 256 levels) is blank: coding noise decides its hash."""

CENTER: Final[Box] = (0.2, 0.2, 0.6, 0.6)
"""The central part of the frame: logos and captions lie outside it."""

HEARTBEAT_MS: Final = 250
"""A picture is stored at least this often, so that any clip of a second has several."""

CELL_CHANGE: Final = 5.0
"""A picture is stored, too, when the mean luma of one of its 8 x 8 cells, of 4 x 4 pixels, changes by more levels: a mouth that speaks, a number that
counts. The whole picture's hash does not see them, and the course of the clip must know when they change."""

MAX_PICTURES: Final = 40_000
"""Stored pictures per video (about 41 MB); beyond, every second one is dropped and the spacing doubles."""

MAX_FINE: Final = 5_000
"""Larger pictures per video, for stills (46 MB); beyond, likewise."""

NEAR: Final = 0.25
"""Pictures that were cut by less than this share of a pixel from where they are wanted stay as they are."""

_GRID_SLACK_MS: Final = 2


def _intersection(a: Box, b: Box) -> Box:
    """The common part; `a` if there is none."""
    x, y = max(a[0], b[0]), max(a[1], b[1])
    w, h = min(a[0] + a[2], b[0] + b[2]) - x, min(a[1] + a[3], b[1] + b[3]) - y
    return (x, y, w, h) if w > 0 and h > 0 else a


def _blank(pictures: Luma) -> NDArray[np.bool_]:
    blank: NDArray[np.bool_] = _deviations(pictures) < BLANK_DEVIATION
    return blank


@compiled
def _deviations(pictures: Luma) -> NDArray[np.float64]:
    """Standard deviation of each picture (n, h, w): (n,)."""
    deviations = np.empty(len(pictures))
    for k in range(len(pictures)):
        total, squares = np.int64(0), np.int64(0)
        for row in range(pictures.shape[1]):
            for column in range(pictures.shape[2]):
                value = np.int64(pictures[k, row, column])
                total += value
                squares += value * value
        count = pictures.shape[1] * pictures.shape[2]
        deviations[k] = np.sqrt(max(squares * count - total * total, 0)) / count
    return deviations


def _pixels(luma: Luma, box: Box) -> tuple[int, int, int, int]:
    """The first column and row of a picture that lie in a box, and those behind the last ones."""
    h, w = luma.shape
    left, top = round(box[0] * w), round(box[1] * h)
    return left, top, max(left + 1, round((box[0] + box[2]) * w)), max(top + 1, round((box[1] + box[3]) * h))


def _cut(luma: Luma, box: Box, side: int = SIDE) -> Luma:
    """The part of `luma` inside `box` at `side` x `side` pixels."""
    left, top, right, bottom = _pixels(luma, box)
    part = luma[top:bottom, left:right]
    if (
        min(part.shape) >= 4 * side
    ):  # in two steps: the general area filter is four times slower, and 0.2 bits of 64 apart
        part = cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return squared(part, side)


def _is_near(a: Box, b: Box, least: float) -> bool:
    """Whether no side of two boxes is as far apart as that."""
    return (
        abs(a[0] - b[0]) < least and abs(a[1] - b[1]) < least and abs(a[2] - b[2]) < least and abs(a[3] - b[3]) < least
    )


def _tones_beside(luma: Luma, box: Box) -> Tones:
    """The mean tones of what lies next to a box of a picture: the column to its left, the row above, the column to its right, the row below; 0 where there is none."""
    if box == WHOLE:
        return 0, 0, 0, 0
    left, top, right, bottom = _pixels(luma, box)
    across, down = slice(left, right), slice(top, bottom)
    before = luma[down, max(0, left - 1) : left], luma[max(0, top - 1) : top, across]
    behind = luma[down, right : right + 1], luma[bottom : bottom + 1, across]
    at_left, above, at_right, below = (round(float(line.mean())) if line.size else 0 for line in (*before, *behind))
    return at_left, above, at_right, below


def _recut(picture: Luma, held: Box, wanted: Box, tones: Tones) -> Luma:
    """The picture of `wanted` from that of `held`; what lies outside `held` was flat and gets the tone that lay beside it."""
    side = picture.shape[0]
    if held == wanted or _is_near(held, wanted, NEAR * min(wanted[2], wanted[3]) / side):
        return picture
    scale_x, scale_y = wanted[2] / held[2], wanted[3] / held[3]
    offset_x, offset_y = (wanted[0] - held[0]) / held[2] * side, (wanted[1] - held[1]) / held[3] * side
    matrix = np.array(
        [
            [scale_x, 0.0, 1 + offset_x + (scale_x - 1) / 2],
            [0.0, scale_y, 1 + offset_y + (scale_y - 1) / 2],
        ]
    )
    framed = np.pad(picture, 1)
    framed[:, 0], framed[0], framed[:, -1], framed[-1] = tones
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(framed, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


class Fingerprinter:
    """Collects small pictures of one video's frames and hashes those of a clip when its bounds are known.

    It keeps a 32x32 picture per change of the scene, at most `MAX_PICTURES`, and a 96x96 one each half second, at most `MAX_FINE`; of long videos in temporary files.
    """

    def __init__(self, params: Hashing) -> None:
        self._params = params
        self._hash = METHODS[params.method]
        self._step_ms = 1000.0 / params.fps
        self._first_ms: int | None = None
        self._next_ms = 0.0
        self._spacing_ms = 0
        self._last_hash: Hashes | None = None
        self._last_cells: NDArray[np.float64] | None = None
        self._aspect = 1.0
        self._times: list[int] = []
        self._pictures = Records()
        self._boxes: list[Box | None] = []
        self._held: list[Box] = []
        self._recent = RecentBoxes(BOX_MEMORY)
        self._tones: list[Tones] = []
        self._fine = Records()
        self._fine_at: list[tuple[int, Box, Tones]] = []
        self._fine_ms = still.SPACING_MS

    def wants(self, time_ms: int) -> bool:
        """Whether the frame at this presentation time is to be pushed: the first at or after each point of a grid of
        `params.fps` that begins with the video's first frame."""
        return self._first_ms is None or time_ms >= self._next_ms - _GRID_SLACK_MS

    def push(self, time_ms: int, luma: Luma) -> None:
        """Looks at a frame; stores a small picture if the scene has changed.

        Args:
            time_ms: presentation time, increasing from call to call.
            luma: uint8 (h, w), a long side of about 320 suffices; not kept.
        """
        if self._first_ms is None:
            self._first_ms = time_ms
            self._aspect = luma.shape[1] / luma.shape[0]
        steps = int((time_ms + _GRID_SLACK_MS - self._first_ms) / self._step_ms) + 1
        self._next_ms = self._first_ms + steps * self._step_ms
        box = content_box(luma)
        if box is not None:
            self._recent.add(box)
        held = self._recent.union
        self._look_closer(time_ms, luma, held)
        picture = _cut(luma, held)
        value = self._hash(picture[None])
        since = time_ms - self._times[-1] if self._times else HEARTBEAT_MS + self._spacing_ms
        if since < self._spacing_ms:
            return
        cells = block_means(picture)
        moved = (
            self._last_hash is None
            or self._last_cells is None
            or int(np.bitwise_count(value ^ self._last_hash)[0]) > self._params.step // 2
            or float(np.abs(cells - self._last_cells).max()) > CELL_CHANGE
        )
        if not moved and since < max(HEARTBEAT_MS, self._spacing_ms) and held == self._held[-1]:
            return
        self._last_hash, self._last_cells = value, cells
        self._times.append(time_ms)
        self._pictures.append(picture.ravel())
        self._boxes.append(box)
        self._held.append(held)
        self._tones.append(_tones_beside(luma, held))
        if len(self._times) > MAX_PICTURES:
            self._pictures.thin()
            for kept in (self._times, self._boxes, self._held, self._tones):
                del kept[1::2]
            self._spacing_ms = max(HEARTBEAT_MS, 2 * self._spacing_ms)

    def _look_closer(self, time_ms: int, luma: Luma, held: Box) -> None:
        """Keeps a larger picture for stills, now and then."""
        if self._fine_at and time_ms - self._fine_at[-1][0] < self._fine_ms - _GRID_SLACK_MS:
            return
        self._fine.append(_cut(luma, held, still.SIDE).ravel())
        self._fine_at.append((time_ms, held, _tones_beside(luma, held)))
        if len(self._fine) > MAX_FINE:
            self._fine.thin()
            del self._fine_at[1::2]
            self._fine_ms *= 2

    def knows(self, start_ms: int, end_ms: int) -> bool:
        """Whether a picture of the clip [start_ms, end_ms) was stored."""
        first, last = self._within(start_ms, end_ms)
        return last > first

    def _within(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Indexes of the stored pictures of [start_ms, end_ms)."""
        return bisect_left(self._times, start_ms), bisect_left(self._times, end_ms)

    def rows(self, start_ms: int, end_ms: int, border: Box | None = None) -> dict[str, Any]:
        """The fingerprint of the clip [start_ms, end_ms): columns of `clip_fingerprints`.

        Args:
            border: the picture inside the video's bars, (x, y, w, h) fractions, if known from elsewhere. Flat rows and
                columns that stay flat over the clip are stripped in any case.

        Returns:
            hashes, blank, hash_ms: lists of one length, in time order. At least `params.frames` of them at spread
                positions if so many frames were pushed; empty if none was.
            flipped_hashes: the hashes of the mirrored pictures, or None unless `params.flipped`.
            center_hashes, center_blank: the same for the central part of the whole frame (not of what is inside the border,
                which a logo on a bar would change), or None unless `params.center`.
            course: the course of the clip (`course.course`) as bytes; still: its still (`still.still`); content_box: where in the frame the hashed picture lies;
                picture_aspect: its width over its height in pixels.
            window_hashes, window_ms: hashes of the windows of some of the hashed frames, `windows.COUNT` for each, 0 where the window is
                blank or left out, and the times of those frames; None unless `params.crops`.
            method: the hash method.
        """
        first, last = self._within(start_ms, end_ms)
        times = np.array(self._times[first:last], np.int64)
        boxes = [b for b in self._boxes[first:last] if b is not None]
        box = _intersection(border or WHOLE, union_of(boxes)) if boxes else WHOLE
        pictures = self._pictures_of(first, last, box)
        hashes, blank = self._hash(pictures), _blank(pictures)
        kept = changes(hashes, blank, self._params.step, self._params.frames)
        row: dict[str, Any] = dict.fromkeys(
            ("flipped_hashes", "center_hashes", "center_blank", "window_hashes", "window_ms")
        )
        row["course"] = course(pictures, times, start_ms, end_ms).tobytes()
        row["still"] = still.still(self._fine_of(start_ms, end_ms, box))
        row["content_box"] = dict(zip("xywh", box, strict=True))
        row["picture_aspect"] = aspect = self._aspect * box[2] / box[3]
        if self._params.crops:
            longest = kept[longest_held(times[kept], blank[kept], end_ms, windows.FRAMES)]
            row["window_hashes"] = self._of_windows(pictures[longest], aspect).reshape(-1).tolist()
            row["window_ms"] = times[longest].tolist()
        if self._params.flipped:
            row["flipped_hashes"] = self._hash(pictures[kept][:, :, ::-1]).tolist()
        if self._params.center:
            central = self._pictures_of(first, last, CENTER, kept)
            row["center_hashes"], row["center_blank"] = self._hash(central).tolist(), _blank(central).tolist()
        return row | {
            "hashes": hashes[kept].tolist(),
            "blank": blank[kept].tolist(),
            "hash_ms": times[kept].tolist(),
            "method": self._params.method,
        }

    def _of_windows(self, pictures: Luma, aspect: float) -> Hashes:
        """Hashes of the windows of each picture, (n, windows.COUNT), 0 where there is nothing to compare."""
        out = np.zeros((len(pictures), windows.COUNT), np.uint64)
        for k, window in enumerate(windows.windows(aspect)):
            if window is not None and len(pictures):
                shown = windows.look_through(pictures, window, aspect)
                out[:, k] = np.where(_blank(shown), 0, self._hash(shown))
        return out

    def _fine_of(self, start_ms: int, end_ms: int, box: Box) -> Luma:
        """The larger pictures of [start_ms, end_ms) of what lies inside `box`, (n, still.SIDE, still.SIDE)."""
        first, last = (bisect_left(self._fine_at, at, key=lambda kept: kept[0]) for at in (start_ms, end_ms))
        pictures = self._fine.between(first, last).reshape(-1, still.SIDE, still.SIDE)
        kept = zip(pictures, self._fine_at[first:last], strict=True)
        stored = [_recut(picture, held, box, tones) for picture, (_, held, tones) in kept]
        return np.array(stored, np.uint8).reshape(-1, still.SIDE, still.SIDE)

    def _pictures_of(
        self, first: int, last: int, box: Box, kept: Sequence[int] | NDArray[np.int64] | None = None
    ) -> Luma:
        """The stored pictures first to last, or those `kept` of them, of what lies inside `box`: (n, 32, 32)."""
        pictures = self._pictures.between(first, last).reshape(-1, SIDE, SIDE)
        places = range(last - first) if kept is None else kept
        stored = [_recut(pictures[k], self._held[first + k], box, self._tones[first + k]) for k in places]
        return np.array(stored, np.uint8).reshape(-1, SIDE, SIDE)


def changes(hashes: Hashes, blank: NDArray[np.bool_], step: int, at_least: int) -> NDArray[np.int64]:
    """Indexes of the hashes that differ by more than `step` bits from the last one taken, or in blankness.

    Until there are `at_least`, if there are so many hashes, the index farthest from those taken is added.
    """
    taken: list[int] = []
    for i in range(len(hashes)):
        if (
            not taken
            or blank[i] != blank[taken[-1]]
            or (not blank[i] and (int(hashes[i]) ^ int(hashes[taken[-1]])).bit_count() > step)
        ):
            taken.append(i)
    everywhere = np.arange(len(hashes))
    while len(taken) < min(at_least, len(hashes)):
        apart = np.abs(everywhere[:, None] - np.array(taken)).min(axis=1)
        taken.append(int(apart.argmax()))
    return np.array(sorted(taken), np.int64)


def longest_held(times: NDArray[np.int64], blank: NDArray[np.bool_], end_ms: int, most: int) -> NDArray[np.int64]:
    """Indexes, in time order, of the at most `most` frames that are not blank and hold longest (ties: the earlier)."""
    hold = np.append(times[1:], end_ms) - times
    order = np.lexsort((times, -hold))
    return np.sort(order[~blank[order]][:most])
