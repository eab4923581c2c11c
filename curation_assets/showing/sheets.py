"""Contact sheets: pictures side by side as one JPEG, which lies beside the table that it is of, and a small one of it for an event."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from curation_resources.markdown import Markdown

if TYPE_CHECKING:
    from PIL import Image

SHEET_BYTES = 150_000
"""Largest contact sheet, encoded."""
THUMBNAIL_BYTES = 3_000
"""Largest thumbnail, encoded. Each event is stored twice in SQLite, in base64, for ever."""
TEXT = 10
"""Size of the text of a sheet, pixels; a line is two higher."""
LINE = TEXT + 2
"""Height of a line of text, pixels."""


@dataclass(frozen=True)
class Sheet:
    """A contact sheet.

    Attributes:
        jpeg: the picture.
        said: what stands beside it.
    """

    jpeg: bytes
    said: Markdown | None = None

    def saying(self, text: Markdown | None) -> Sheet:
        """The same picture with `text` beside it."""
        return replace(self, said=text)


def contact_sheet(
    pictures: Sequence[tuple[bytes, str]],
    columns: int = 6,
    width: int = 160,
    lines: int = 2,
    text: int = TEXT,
    most_bytes: int = SHEET_BYTES,
) -> Sheet | None:
    """Pictures side by side with a caption below each.

    Args:
        pictures: (JPEG bytes, caption); unreadable ones are left out, no bytes leave a place empty.
        columns: pictures in a row.
        width: width of one, pixels; reduced until the sheet is small enough.
        lines: that a caption may take; what is longer ends in dots. A line feed begins another one.
        text: size of captions, pixels.
        most_bytes: size of the JPEG, as far as pictures of 64 pixels allow.

    Returns:
        None if there is nothing to show.
    """
    from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

    opened = []
    for data, caption in pictures:
        try:
            picture = Image.open(io.BytesIO(data)).convert("RGB") if data else Image.new("RGB", (1, 1), "white")
        except (UnidentifiedImageError, OSError):
            continue
        opened.append((picture, caption))
    if not opened:
        return None
    columns = min(columns, len(opened))
    quality, font, line = 70, ImageFont.load_default(text), text + 2
    while True:
        cells = [(picture.copy(), caption) for picture, caption in opened]
        for cell, _ in cells:
            cell.thumbnail((width - 2, width * 3 // 4))
        said = [wrapped(_drawable(caption), width - 6, lines, font.getlength) for _, caption in cells]
        rows = [range(n, min(n + columns, len(cells))) for n in range(0, len(cells), columns)]
        high = max(cell.height for cell, _ in cells) + 2
        tall = [high + line * max(1, *(len(said[i]) for i in row)) for row in rows]
        sheet = Image.new("RGB", (columns * width, sum(tall)), "white")
        draw, y = ImageDraw.Draw(sheet), 0
        for row, own in zip(rows, tall, strict=True):
            for i in row:
                small, x = cells[i][0], (i - row.start) * width
                sheet.paste(small, (x + (width - small.width) // 2, y + (high - small.height) // 2))
                for n, words in enumerate(said[i]):
                    draw.text((x + 2, y + high + n * line), words, fill="black", font=font)
            y += own
        jpeg = _encoded(sheet, quality)
        if len(jpeg) <= most_bytes or (width <= 64 and quality <= 40):
            return Sheet(jpeg)
        width, quality = max(64, int(width * 0.85)), max(40, quality - 10)


def wrapped(text: str, width: float, lines: int, length: Callable[[str], float]) -> list[str]:
    """A text in at most so many lines, broken at spaces, within a word that is longer than a line; dots where something is left out.

    Args:
        width: of a line, in what `length` measures.
    """
    made = [""]
    for number, part in enumerate(text.split("\n")):
        if number:
            made.append("")
        for word in part.split():
            joined = f"{made[-1]} {word}".lstrip()
            if length(joined) <= width:
                made[-1] = joined
                continue
            if made[-1]:
                made.append("")
            for letter in word:
                if made[-1] and length(made[-1] + letter) > width:
                    made.append("")
                made[-1] += letter
    if len(made) <= lines:
        return made
    last = f"{made[lines - 1]}..."
    while len(last) > 3 and length(last) > width:
        last = f"{last[:-4]}..."
    return [*made[: lines - 1], last]


def together(sheets: Mapping[str, Sheet]) -> bytes:
    """The sheets of a table as one picture: a single one as it is, several below each other, each under its name."""
    from PIL import Image, ImageDraw

    if len(sheets) == 1:
        return next(iter(sheets.values())).jpeg
    opened = [(name, Image.open(io.BytesIO(s.jpeg))) for name, s in sheets.items()]
    width = max(p.width for _, p in opened)
    whole = Image.new("RGB", (width, sum(p.height + 2 * LINE for _, p in opened)), "white")
    draw, y = ImageDraw.Draw(whole), 0
    for name, picture in opened:
        draw.text((2, y + LINE // 2), _drawable(name)[: width // 6], fill="black")
        whole.paste(picture, (0, y + 2 * LINE))
        y += picture.height + 2 * LINE
    return _encoded(whole, 75)


def thumbnail(jpeg: bytes, width: int = 360) -> bytes:
    """A picture as a JPEG of at most `THUMBNAIL_BYTES`, at most `width` pixels wide; none is smaller than 48 pixels."""
    from PIL import Image

    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    while True:
        small = picture.copy()
        small.thumbnail((width, width))
        encoded = _encoded(small, 50)
        if len(encoded) <= THUMBNAIL_BYTES or width <= 48:
            return encoded
        width = int(width * 0.85)


def _encoded(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _drawable(text: str) -> str:
    """The built-in font has no more than this."""
    return text.encode("ascii", "replace").decode()
