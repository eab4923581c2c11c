"""Copies as those make them who upload a film again: other speeds, frames around it, captions, blurred logos, other tones, other rates.

What belongs here: a change of a clip, or its place in another, that leaves all or most of it to be seen. What does not: the plain kinds of copies (`benchmarks.copies`), writing over
a copy (`written_over`), clips that are none (`places`, `lookalikes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import cv2
import numpy as np

from benchmarks.copies import Footage, Luma, part_of, upright

FONT: Final = cv2.FONT_HERSHEY_DUPLEX
BLACK, WHITE = 16, 235
INTRO_MS: Final = 2000.0


def _levels(values: np.ndarray) -> Luma:
    return np.asarray(np.clip(np.round(values), 0, 255), np.uint8)


def _sized(picture: Luma, width: int, height: int) -> Luma:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _faster(footage: Footage, factor: float) -> Footage:
    return Footage(footage.pictures, footage.times / factor)


def _captioned(picture: Luma) -> Luma:
    """A crop to 85 % with two lines of a caption across its lower part."""
    out = part_of(picture, 0.85).copy()
    height, width = out.shape
    for line, y in (("you will not believe", 0.78), ("what happens next", 0.9)):
        scale = height / 300
        wide = cv2.getTextSize(line, FONT, scale, 2)[0][0]
        at = ((width - wide) // 2, round(y * height))
        cv2.putText(out, line, at, FONT, scale, (BLACK,), 5, cv2.LINE_AA)
        cv2.putText(out, line, at, FONT, scale, (WHITE,), 2, cv2.LINE_AA)
    return out


def _logo_blurred(picture: Luma) -> Luma:
    """A box in the upper right, a quarter of the width and a sixth of the height, blurred until nothing is read."""
    height, width = picture.shape
    out = picture.copy()
    top, left, h, w = height // 20, round(0.72 * width), height // 6, width // 4
    box = out[top : top + h, left : left + w]
    out[top : top + h, left : left + w] = cv2.GaussianBlur(box, (0, 0), h / 4)
    return out


def _tone_mapped(picture: Luma) -> Luma:
    """As wide-range footage comes out of a converter: shadows lifted, lights rolled off."""
    x = picture.astype(np.float64) / 255
    return _levels(255 * (1.7 * x**0.8 / (1 + 0.7 * x**0.8)))


def _graded(picture: Luma) -> Luma:
    """A filter of an app: lifted blacks, less contrast, darker corners."""
    height, width = picture.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return _levels((40 + 0.75 * picture) * (1 - 0.25 * (x * x + y * y) / 2))


def _grain(footage: Footage) -> Footage:
    rng = np.random.default_rng(0)
    return footage.each(lambda p: _levels(p + rng.normal(0, 14, p.shape)))


def _interlaced(footage: Footage) -> Footage:
    """Every second line is of the next picture, as combed video comes out of a capture card."""
    woven = []
    for first, second in zip(footage.pictures, [*footage.pictures[1:], footage.pictures[-1]], strict=True):
        picture = first.copy()
        picture[1::2] = second[1::2]
        woven.append(picture)
    return Footage(woven, footage.times)


def _few_frames(footage: Footage, fps: float) -> Footage:
    """So many pictures a second, each held."""
    kept = np.unique(
        np.searchsorted(footage.times, np.arange(0, footage.times[-1] + 1, 1000 / fps)).clip(max=len(footage.times) - 1)
    )
    return Footage([footage.pictures[i] for i in kept], footage.times[kept])


def _mixed_rate(footage: Footage) -> Footage:
    """24 pictures a second, each mixed of the two that lie nearest."""
    times = np.arange(0, footage.times[-1], 1000 / 24)
    at = np.interp(times, footage.times, np.arange(len(footage.times)))
    first = np.floor(at).astype(int)
    second = np.minimum(first + 1, len(footage.pictures) - 1)
    mixed = [
        _levels((1 - s) * footage.pictures[i].astype(np.float64) + s * footage.pictures[j])
        for i, j, s in zip(first, second, at - first, strict=True)
    ]
    return Footage(mixed, times)


def _squeezed(picture: Luma) -> Luma:
    """To three quarters of its width."""
    return _sized(picture, round(picture.shape[1] * 0.75) // 2 * 2, picture.shape[0])


def _before_itself(picture: Luma, ratio: float) -> Luma:
    """Whole, before itself enlarged, blurred and darkened, in a frame that is `ratio` times as wide as high."""
    height, width = picture.shape
    wide, high = (width, round(width / ratio)) if width / height > ratio else (round(height * ratio), height)
    factor = max(wide / width, high / height)
    large = cv2.resize(picture, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_LINEAR)
    y, x = (large.shape[0] - high) // 2, (large.shape[1] - wide) // 2
    frame = cv2.GaussianBlur(large[y : y + high, x : x + wide], (0, 0), wide / 25) * 0.7
    top, left = (high - height) // 2, (wide - width) // 2
    frame[top : top + height, left : left + width] = picture
    return _levels(frame)


def _other_shape(footage: Footage) -> Footage:
    """Wide pictures in an upright frame, others in a wide one."""
    height, width = footage.pictures[0].shape
    return footage.each(partial(_before_itself, ratio=9 / 16 if width > height else 16 / 9))


def _squarely(footage: Footage) -> Footage:
    return footage.each(partial(_before_itself, ratio=1.0))


def _framed(picture: Luma) -> Luma:
    """At four fifths on a drawn ground of two tones, as compilations have it, a little above the middle."""
    height, width = picture.shape
    ground = np.tile(np.where(np.arange(width) // 24 % 2, 90, 130).astype(np.uint8), (height, 1))
    w, h = round(0.8 * width), round(0.8 * height)
    top, left = round(0.05 * height), (width - w) // 2
    ground[top : top + h, left : left + w] = _sized(picture, w, h)
    return ground


def _steadied(footage: Footage, size: float = 0.06) -> Footage:
    """What stabilising leaves: a window of 88 % that sways by up to 6 % of the side."""
    share = 1 - 2 * size
    pictures = []
    for picture, time in zip(footage.pictures, footage.times, strict=True):
        x = 0.5 + 0.5 * np.sin(2 * np.pi * time / 1700)
        y = 0.5 + 0.5 * np.sin(2 * np.pi * time / 1100 + 1)
        pictures.append(part_of(picture, share, float(x), float(y)))
    return Footage(pictures, footage.times)


def _mirrored_crop(picture: Luma) -> Luma:
    return part_of(picture, 0.9)[:, ::-1]


def _strip(picture: Luma, at: float) -> Luma:
    """An upright strip of a wide picture, its place as a share of the room there is."""
    height, width = picture.shape
    left = round(at * (width - round(height * 9 / 16)))
    return upright(picture[:, left : left + round(height * 9 / 16)], 9 / 16)


def _after_intro(footage: Footage, other: Footage) -> Footage:
    """After two seconds of another clip, scaled to its size."""
    height, width = footage.pictures[0].shape
    step = 1000.0 / 25
    times = np.arange(0, INTRO_MS, step)
    shown = np.searchsorted(other.times, np.minimum(times, other.times[-1]))
    intro = [_sized(other.pictures[min(i, len(other.pictures) - 1)], width, height) for i in shown]
    return Footage([*intro, *footage.pictures], np.concatenate([times, footage.times + INTRO_MS]))


def _beside(footage: Footage, other: Footage, share: float, corner: tuple[float, float]) -> Footage:
    """With another clip playing before it, `share` of its sides, in a corner: somebody who watches it."""
    height, width = footage.pictures[0].shape
    w, h = round(share * width), round(share * height)
    top, left = (round(at * (side - part)) for at, side, part in zip(corner, (height, width), (h, w), strict=True))
    pictures = []
    for picture, time in zip(footage.pictures, footage.times, strict=True):
        out = picture.copy()
        at = min(int(np.searchsorted(other.times, time % max(1.0, other.times[-1]))), len(other.pictures) - 1)
        out[top : top + h, left : left + w] = _sized(other.pictures[at], w, h)
        pictures.append(out)
    return Footage(pictures, footage.times)


def _watched(footage: Footage, other: Footage) -> Footage:
    """The other way round: the clip plays at 60 % in the upper left of another one."""
    if not footage.pictures:
        return footage
    height, width = footage.pictures[0].shape
    w, h = round(0.6 * width), round(0.6 * height)
    pictures = []
    for picture, time in zip(footage.pictures, footage.times, strict=True):
        at = min(int(np.searchsorted(other.times, time % max(1.0, other.times[-1]))), len(other.pictures) - 1)
        out = _sized(other.pictures[at], width, height).copy()
        out[height // 20 : height // 20 + h, width // 20 : width // 20 + w] = _sized(picture, w, h)
        pictures.append(out)
    return Footage(pictures, footage.times)


Change = Callable[[Footage, Footage], Footage]


def _alone(change: Callable[[Footage], Footage]) -> Change:
    return lambda footage, other: change(footage)


def _each(change: Callable[[Luma], Luma]) -> Change:
    return lambda footage, other: footage.each(change)


WIDE_ONLY: Final = frozenset({"9:16 crop at a sixth", "9:16 crop at two fifths"})
"""Kinds that are made of wide pictures only."""

KINDS: Final[Mapping[str, Change]] = {
    "10 % faster": _alone(partial(_faster, factor=1.1)),
    "25 % faster": _alone(partial(_faster, factor=1.25)),
    "20 % slower": _alone(partial(_faster, factor=1 / 1.2)),
    "crop to 85 %, captioned": _each(_captioned),
    "logo blurred away": _each(_logo_blurred),
    "mirrored crop to 90 %": _each(_mirrored_crop),
    "tone-mapped": _each(_tone_mapped),
    "filter of an app": _each(_graded),
    "grain": _alone(_grain),
    "interlaced": _alone(_interlaced),
    "five pictures a second": _alone(partial(_few_frames, fps=5)),
    "24 mixed pictures a second": _alone(_mixed_rate),
    "squeezed to 3/4": _each(_squeezed),
    "before itself, blurred, other shape": _alone(_other_shape),
    "before itself, blurred, square": _alone(_squarely),
    "framed at four fifths": _each(_framed),
    "stabilised": _alone(_steadied),
    "9:16 crop at a sixth": _each(partial(_strip, at=1 / 6)),
    "9:16 crop at two fifths": _each(partial(_strip, at=0.4)),
    "after an intro of 2 s": _after_intro,
    "another clip in a corner, a quarter": partial(_beside, share=0.25, corner=(0.95, 0.95)),
    "another clip in a corner, a third": partial(_beside, share=1 / 3, corner=(0.95, 0.95)),
    "in another clip, 60 %": _watched,
}
"""Each makes a copy of a clip; some take another clip for what is beside or before it."""
