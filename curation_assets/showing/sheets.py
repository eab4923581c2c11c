"""Pictures as markdown with the bytes inline, small enough for an event log."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from curation_resources.markdown import Markdown

SHEET_BYTES = 45_000
"""Largest contact sheet, encoded: an event with more slows the UI down."""
CELL_BYTES = SHEET_BYTES // 12
"""Largest picture in a table, encoded; tables with pictures have a dozen rows."""


def contact_sheet(pictures: Sequence[tuple[bytes, str]], columns: int = 6, width: int = 128) -> Markdown | None:
    """Pictures side by side with a caption below each, as markdown with one inline JPEG of at most `SHEET_BYTES`.

    Args:
        pictures: (JPEG bytes, caption); unreadable ones are left out, no bytes leave a place empty.
        columns: pictures in a row.
        width: width of one, pixels; reduced until the sheet is small enough.

    Returns:
        None if there is nothing to show.
    """
    from PIL import Image, ImageDraw, UnidentifiedImageError

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
    quality = 70
    while True:
        cells = [(picture.copy(), caption) for picture, caption in opened]
        for cell, _ in cells:
            cell.thumbnail((width - 2, width * 3 // 4))
        height, text = max(cell.height for cell, _ in cells) + 2, 12
        rows = -(-len(opened) // columns)
        sheet = Image.new("RGB", (columns * width, rows * (height + text)), "white")
        draw = ImageDraw.Draw(sheet)
        for i, (small, caption) in enumerate(cells):
            x, y = i % columns * width, i // columns * (height + text)
            sheet.paste(small, (x + (width - small.width) // 2, y + (height - small.height) // 2))
            shown = caption.encode("ascii", "replace").decode()
            draw.text((x + 2, y + height), shown[: width // 6], fill="black")
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= SHEET_BYTES or (width <= 64 and quality <= 40):
            break
        width, quality = max(64, int(width * 0.85)), max(40, quality - 10)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return Markdown(f"![contact sheet](data:image/jpeg;base64,{encoded})")


def inline_picture(data: bytes, width: int = 160) -> Markdown | None:
    """A picture as markdown for a cell of a table, at most `width` wide and `CELL_BYTES` large; None if it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
    except (UnidentifiedImageError, OSError):
        return None
    while True:
        small = picture.copy()
        small.thumbnail((width, width))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=60, optimize=True)
        if buffer.tell() <= CELL_BYTES or width <= 48:
            return Markdown(f"![frame](data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()})")
        width = int(width * 0.85)
