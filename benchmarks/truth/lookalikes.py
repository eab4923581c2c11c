"""Clips that look alike and are not copies: composed from footage, so that it is known that what matters differs.

What stays is the same picture to the pixel (a studio, a slide, a frame around a game); what moves is other footage in the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.copies import Footage
from curation_assets.demo.drawing import pan

Luma = NDArray[np.uint8]
WIDTH, HEIGHT = 320, 180
FPS: Final = 25
SECONDS: Final = 4
GROUP: Final = 6
"""Clips of a group: every two of them look alike."""

FONT: Final = cv2.FONT_HERSHEY_DUPLEX
Box = tuple[float, float, float, float]


def covering(picture: Luma, width: int, height: int) -> Luma:
    """The middle of a picture, as large as fits, at this size."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    w, h = max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale))
    scaled = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    x, y = (w - width) // 2, (h - height) // 2
    return np.asarray(scaled[y : y + height, x : x + width], np.uint8)


def part_in_time(footage: Footage, first: float) -> list[Luma]:
    """`SECONDS` of the footage from the share `first` of its length on, on a regular grid; it runs back and forth if it is shorter."""
    step = 1000.0 / FPS
    wanted = first * footage.times[-1] + step * np.arange(SECONDS * FPS)
    last = max(1.0, footage.times[-1])
    wanted = last - np.abs(last - wanted % (2 * last))
    return [footage.pictures[i] for i in np.clip(np.searchsorted(footage.times, wanted), 0, len(footage.pictures) - 1)]


def filmed(ground: Callable[[int], Luma], inner: Sequence[Luma], box: Box, *, soft: bool) -> Footage:
    """Footage in a box (x, y, w, h as shares) before what `ground` shows at each frame; an ellipse with soft edges, or the whole box."""
    x, y, w, h = (round(side * of) for side, of in zip(box, (WIDTH, HEIGHT) * 2, strict=True))
    mask = np.ones((h, w), np.float32)
    if soft:
        mask[:] = 0
        cv2.ellipse(mask, (w // 2, h // 2), (w // 2 - 4, h // 2 - 3), 0, 0, 360, 1.0, -1)
        mask = np.asarray(cv2.GaussianBlur(mask, (7, 7), 0), np.float32)
    pictures = []
    for number, picture in enumerate(inner):
        frame = ground(number).copy()
        behind = frame[y : y + h, x : x + w]
        frame[y : y + h, x : x + w] = np.round(covering(picture, w, h) * mask + behind * (1 - mask)).astype(np.uint8)
        pictures.append(frame)
    return Footage(pictures, np.arange(len(pictures)) * 1000.0 / FPS)


def _still(picture: Luma) -> Callable[[int], Luma]:
    return lambda number: picture


def _place(picture: Luma) -> Luma:
    return covering(picture, WIDTH, HEIGHT)


def studio(shots: Sequence[Footage]) -> list[Footage]:
    """Six speakers before one background; a speaker fills 17 % of the frame."""
    ground = _still(_place(shots[0].pictures[0]))
    return [filmed(ground, part_in_time(s, 0), (0.33, 0.3, 0.34, 0.5), soft=True) for s in shots[1 : GROUP + 1]]


def news_desk(shots: Sequence[Footage]) -> list[Footage]:
    """Presenters behind a desk with a banner; a line of text runs through it, the same to all."""
    place = _place(shots[0].pictures[0])
    cv2.rectangle(place, (0, 140), (WIDTH, HEIGHT), (40,), -1)
    cv2.rectangle(place, (0, 150), (WIDTH, 170), (225,), -1)

    def ground(number: int) -> Luma:
        frame = place.copy()
        cv2.putText(frame, "markets close higher after a quiet day", (300 - 3 * number, 165), FONT, 0.5, (20,), 1)
        return frame

    return [filmed(ground, part_in_time(s, 0), (0.6, 0.1, 0.28, 0.65), soft=True) for s in shots[1 : GROUP + 1]]


def _slide(title: str, lines: Sequence[str], tone: int = 240) -> Luma:
    page = np.full((HEIGHT, WIDTH), tone, np.uint8)
    cv2.putText(page, title, (18, 34), FONT, 0.8, (30,), 1, cv2.LINE_AA)
    for number, line in enumerate(lines):
        cv2.putText(page, line, (24, 66 + 24 * number), FONT, 0.45, (60,), 1, cv2.LINE_AA)
    return page


def lecture(shots: Sequence[Footage]) -> list[Footage]:
    """One slide, other lecturers in the corner (9 % of the frame)."""
    ground = _still(
        _slide("Dynamic programming", ("overlapping subproblems", "optimal substructure", "memory", "cost"))
    )
    return [filmed(ground, part_in_time(s, 0), (0.72, 0.6, 0.26, 0.36), soft=False) for s in shots[1 : GROUP + 1]]


def video_call(shots: Sequence[Footage]) -> list[Footage]:
    """Four tiles, three without a camera; another person in the fourth."""
    page = np.full((HEIGHT, WIDTH), 32, np.uint8)
    for number, name in enumerate(("AB", "CD", "EF")):
        x, y = 8 + 156 * (number % 2), 8 + 84 * (number // 2)
        cv2.rectangle(page, (x, y), (x + 148, y + 78), (70,), -1)
        cv2.circle(page, (x + 74, y + 39), 24, (150,), -1)
        cv2.putText(page, name, (x + 58, y + 47), FONT, 0.7, (240,), 1, cv2.LINE_AA)
    box = (164 / WIDTH, 92 / HEIGHT, 148 / WIDTH, 78 / HEIGHT)
    return [filmed(_still(page), part_in_time(s, 0), box, soft=False) for s in shots[1 : GROUP + 1]]


def game(shots: Sequence[Footage]) -> list[Footage]:
    """Other scenes through one cockpit with its instruments (the window is 30 % of the frame)."""
    page = _place(shots[0].pictures[0]) // 3
    for number in range(5):
        cv2.circle(page, (40 + 60 * number, 150), 22, (190,), 2)
        cv2.line(page, (40 + 60 * number, 150), (40 + 60 * number + 5 * number, 134), (220,), 2)
    cv2.putText(page, "SCORE 120  LAP 2/3", (10, 20), FONT, 0.5, (230,), 1)
    return [filmed(_still(page), part_in_time(s, 0), (0.15, 0.17, 0.7, 0.43), soft=False) for s in shots[1 : GROUP + 1]]


def turntable(shots: Sequence[Footage]) -> list[Footage]:
    """Products that turn on one plain ground, at one pace."""
    ground = np.tile(np.linspace(235, 180, HEIGHT).astype(np.uint8)[:, None], (1, WIDTH))
    cv2.ellipse(ground, (WIDTH // 2, 140), (80, 16), 0, 0, 360, (150,), -1)
    out = []
    for shot in shots[1 : GROUP + 1]:
        skin = np.concatenate([p := covering(shot.pictures[0], 96, 90), p[:, ::-1]], axis=1)
        turned = []
        for number in range(SECONDS * FPS):
            angle = 2 * np.pi * number / (4 * FPS)
            across = np.linspace(-0.98, 0.98, 64)
            columns = ((np.arcsin(across) + angle) / (2 * np.pi) * skin.shape[1]).astype(int) % skin.shape[1]
            turned.append(np.ascontiguousarray(skin[:, columns]))
        out.append(filmed(_still(ground), turned, (0.4, 0.27, 0.2, 0.5), soft=False))
    return out


def takes(shots: Sequence[Footage]) -> list[Footage]:
    """One person before one background, filmed again."""
    ground = _still(_place(shots[0].pictures[0]))
    person = max(shots[1:], key=lambda s: s.times[-1])
    return [filmed(ground, part_in_time(person, k / 4), (0.33, 0.25, 0.34, 0.6), soft=True) for k in (0, 2)]


def _held(picture: Luma) -> Footage:
    """One picture for as long as a clip lasts."""
    return Footage([picture] * (SECONDS * FPS), np.arange(SECONDS * FPS) * 1000.0 / FPS)


def _centred(picture: Luma, text: str, y: int, scale: float, tone: int = 230) -> Luma:
    out = picture.copy()
    width = cv2.getTextSize(text, FONT, scale, 1)[0][0]
    cv2.putText(out, text, ((WIDTH - width) // 2, y), FONT, scale, (tone,), 1, cv2.LINE_AA)
    return out


CHAPTERS: Final = tuple(f"Chapter {word}" for word in ("One", "Two", "Three", "Four", "Five", "Six"))


def title_cards(shots: Sequence[Footage]) -> list[Footage]:
    """Cards of one template, plain or over a darkened picture."""
    plain = np.full((HEIGHT, WIDTH), 24, np.uint8)
    page = plain if len(shots[0].pictures) % 2 else _place(shots[0].pictures[0]) // 4
    cv2.line(page, (90, 112), (230, 112), (200,), 1)
    return [_held(_centred(page, text, 100, 1.0)) for text in CHAPTERS]


def moving_titles(shots: Sequence[Footage]) -> list[Footage]:
    """Titles before one moving picture, the same to all."""
    ground = [_place(p) // 2 for p in part_in_time(shots[0], 0)]
    times = np.arange(len(ground)) * 1000.0 / FPS
    return [Footage([_centred(p, text, 100, 1.0) for p in ground], times) for text in CHAPTERS]


def _panned_titles(shots: Sequence[Footage], dimmed: int, scale: float) -> list[Footage]:
    """Titles before a picture over which a camera pans and zooms; its light is divided."""
    camera = pan(shots[0].pictures[0], (0.3, 0.4, 1.0), (0.7, 0.6, 1.4), (WIDTH, HEIGHT))
    shown = np.arange(SECONDS * FPS)
    ground = [np.asarray(camera(k / len(shown)), np.uint8) // dimmed for k in shown.tolist()]
    return [Footage([_centred(p, text, 100, scale) for p in ground], shown * 1000.0 / FPS) for text in CHAPTERS]


def scores(shots: Sequence[Footage]) -> list[Footage]:
    """Boards of one match, plain or over a darkened picture, with other scores and times."""
    page = np.full((HEIGHT, WIDTH), 36, np.uint8) if len(shots[0].pictures) % 2 else _place(shots[0].pictures[0]) // 4
    cv2.putText(page, "HOME        GUESTS", (56, 60), FONT, 0.6, (200,), 1, cv2.LINE_AA)
    boards = (("0 : 0", "08:12"), ("1 : 0", "23:47"), ("1 : 2", "45:00"), ("3 : 2", "61:34"), ("3 : 3", "77:09"))
    return [_held(_centred(_centred(page, score, 104, 1.2), time, 140, 0.7)) for score, time in boards]


def small_titles(shots: Sequence[Footage]) -> list[Footage]:
    """Small dark words on light ground, above a long line that is the same to all."""
    page = _centred(np.full((HEIGHT, WIDTH), 225, np.uint8), "an introduction in six parts", 104, 0.5, 60)
    return [_held(_centred(page, text, 84, 0.5, 30)) for text in CHAPTERS]


def names(shots: Sequence[Footage]) -> list[Footage]:
    """One still picture with the name of another person on a strip in its lower part."""
    place = _place(shots[0].pictures[0])
    cv2.rectangle(place, (16, 136), (150, 164), (230,), -1)
    cards = []
    for name in ("Anna Berg", "Paul Weiss", "Ines Roca", "Tom Lindt", "Eva Novak", "Jan Smits"):
        card = place.copy()
        cv2.putText(card, name, (24, 156), FONT, 0.6, (20,), 1, cv2.LINE_AA)
        cards.append(_held(card))
    return cards


def slides(shots: Sequence[Footage]) -> list[Footage]:
    """Slides of one template: another line is added to each."""
    lines = ("first measure", "then cut", "then measure again", "and write it down", "and stop")
    return [_held(_slide("How it is done", lines[: k + 1])) for k in range(len(lines))]


def other_slides(shots: Sequence[Footage]) -> list[Footage]:
    """Slides of one template and one title with other lines."""
    words = ["cost", "memory", "speed", "order", "depth", "width", "proof", "search", "graph", "limit"]
    return [_held(_slide("Summary", [f"{words[k + n]} of the {words[2 * n]}" for n in range(3)])) for k in range(GROUP)]


STILL: Final = frozenset(
    {"title cards of one template", "small titles", "names on one picture", "slides of one template"}
)
"""Kinds of which nothing moves: copies of these are made too."""

KINDS: Final[Mapping[str, Callable[[Sequence[Footage]], list[Footage]]]] = {
    "six speakers, one studio": studio,
    "news desk with a running line": news_desk,
    "lecturers beside one slide": lecture,
    "video call": video_call,
    "game behind instruments": game,
    "products on a turntable": turntable,
    "takes of one scene": takes,
    "title cards of one template": title_cards,
    "slides that build up": slides,
    "slides of one template": other_slides,
    "small titles": small_titles,
    "names on one picture": names,
    "titles before one moving picture": moving_titles,
    "titles before a panned picture": partial(_panned_titles, dimmed=2, scale=1.0),
    "titles before a bright panned picture": partial(_panned_titles, dimmed=1, scale=1.0),
    "medium titles before a panned picture": partial(_panned_titles, dimmed=2, scale=0.65),
    "scores and times on one board": scores,
}
"""Each makes a group of clips of shots in random order: the first is the place, the others are what moves."""
