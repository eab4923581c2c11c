"""What the UI shows of a materialization: counts, unicode histograms and contact sheets, small enough for an event log."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dagster import (
    AssetKey,
    MetadataValue,
    TableColumn,
    TableColumnConstraints,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
)

from curation_assets.schemas import ID_COLUMNS, Column, schema
from curation_resources.markdown import Markdown, escape

BARS = "▁▂▃▄▅▆▇█"
NO_BAR = "\u00a0"
"""An empty bin: a space that HTML does not merge with its neighbours."""
SHEET_BYTES = 45_000
"""Largest contact sheet, encoded: an event with more slows the UI down."""
CELL_BYTES = SHEET_BYTES // 12
"""Largest picture in a table, encoded; tables with pictures have a dozen rows."""


def column_schema(asset: str) -> TableSchema:
    """The asset's table as Dagster shows it."""
    contract = schema(asset)
    return TableSchema(
        columns=[
            TableColumn(
                c.name,
                type_name(c.type),
                description(c),
                TableColumnConstraints(nullable=c.nullable, unique=contract.key == (c.name,)),
            )
            for c in contract.columns
        ]
    )


def description(column: Column) -> str:
    """What a column is; of one that is taken over, what it is where it comes from."""
    if column.taken is None:
        return column.description
    asset, name = column.taken.split(".")
    own = column.description != column.taken
    return f"{column.description if own else schema(asset).column(name).description} From {column.taken}."


def type_name(kind: pa.DataType) -> str:
    """An Arrow type in one or two words: what nested structures hold is left to the column's description."""
    if pa.types.is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{type_name(kind.key_type)}, {type_name(kind.item_type)}>"
    return "struct" if pa.types.is_struct(kind) else str(kind)


def column_lineage(asset: str, parents: Collection[str]) -> TableColumnLineage:
    """Which columns are those of other tables, as the registry says; ids come from the first parent that has them.

    Args:
        asset: whose columns.
        parents: assets it is made from, in graph order; nothing else is named.
    """
    deps: dict[str, list[TableColumnDep]] = {}
    for column in schema(asset).columns:
        source = column.taken
        if source is None and column.name in ID_COLUMNS:
            source = next((f"{p}.{column.name}" for p in parents if column.name in schema(p).names), None)
        if source is not None and (table := source.split(".")[0]) in parents:
            deps[column.name] = [TableColumnDep(AssetKey(table), source.removeprefix(f"{table}."))]
    return TableColumnLineage(deps)


def histogram(values: np.ndarray, bins: int = 16) -> str:
    """Bars over equal bins between the smallest and the largest of some finite values."""
    counts, _ = np.histogram(values, bins=bins)
    top = counts.max()
    return "".join(NO_BAR if c == 0 else BARS[min(len(BARS) - 1, int(c / top * (len(BARS) - 0.001)))] for c in counts)


def distributions(
    columns: Mapping[str, Sequence[float | None] | np.ndarray], heading: str = "column"
) -> MetadataValue | None:
    """A markdown table with bars, minimum, median, maximum and the number of nulls per column; None if no column has values."""
    rows = []
    for name, given in columns.items():
        known = np.array([v for v in given if v is not None and not np.isnan(v)], dtype=float)
        if len(known):
            numbers = (f"{n:.4g}" for n in (known.min(), np.median(known), known.max()))
            rows.append((name, Markdown(f"`{histogram(known)}`"), *numbers, len(given) - len(known) or ""))
    return markdown_table((heading, "distribution", "min", "median", "max", "null"), rows)


def histograms(table: pa.Table, columns: Sequence[str]) -> MetadataValue | None:
    """The distributions of a table's columns."""
    return distributions({c: table[c].to_pylist() for c in columns})


def counts(table: pa.Table, column: str) -> dict[str, int]:
    """Value -> number of rows, most frequent first; nulls are left out."""
    tally = pc.value_counts(table[column].drop_null()).to_pylist()
    return {str(t["values"]): t["counts"] for t in sorted(tally, key=lambda t: -t["counts"])}


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> MetadataValue | None:
    """A markdown table, None if it has no rows; cells are shown as the text that they are, unless they are `Markdown`."""
    lines = list(rows)
    if not lines:
        return None

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(c if isinstance(c, Markdown) else escape(str(c)) for c in cells) + " |"

    return MetadataValue.md("\n".join([line(header), "|" + "---|" * len(header), *map(line, lines)]))


def contact_sheet(pictures: Sequence[tuple[bytes, str]], columns: int = 6, width: int = 128) -> MetadataValue | None:
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
    return MetadataValue.md(f"![contact sheet](data:image/jpeg;base64,{encoded})")


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


def plain(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and texts of `stats` as metadata, mappings as JSON; lists are left out, since they are shown as tables."""
    return {
        k: MetadataValue.json(dict(v)) if isinstance(v, Mapping) else v
        for k, v in stats.items()
        if v is not None and not isinstance(v, list) and v != {}
    }
