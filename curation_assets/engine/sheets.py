"""The contact sheet of a table: `sheet.jpg` in the partition's folder, written before the table that names it by its hash.

A sheet is for people and nothing is made from it: one that is gone makes no table stale. Whoever shows one compares its bytes with the hash in the
table's footer, so that nobody sees the pictures of another version. What belongs here: keeping it beside the table. What does not: drawing
(`curation_assets.showing.sheets`) and showing it (`orchestration/metadata.py`, `commands/picture_server.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from curation_assets.showing.sheets import Sheet, together
from curation_resources.table_headers import SHEET, SHEET_FILE, TableHeader
from curation_resources.tables import Base, TableStore


def sheet_path(store: TableStore, asset: str, partition: str | None) -> str:
    """Where the sheet of a table lies, relative to the storage root."""
    return f"{store.folder(asset, partition)}/{SHEET_FILE}"


def sheet_hash(jpeg: bytes) -> str:
    """The hash by which a table's footer names its sheet."""
    return hashlib.sha256(jpeg).hexdigest()[:16]


def put_sheet(store: TableStore, asset: str, partition: str | None, shown: Mapping[str, Any]) -> dict[str, str]:
    """Writes the sheets among what is shown of a table that is about to be committed, as one picture.

    Returns:
        What its stats say of it; empty if there is none.
    """
    sheets = {name: value for name, value in shown.items() if isinstance(value, Sheet)}
    if not sheets:
        return {}
    jpeg = together(sheets)
    store.storage.write(sheet_path(store, asset, partition), jpeg)
    return {SHEET: sheet_hash(jpeg)}


def drop_old_sheet(store: TableStore, header: TableHeader, base: Base) -> None:
    """Removes the sheet of the table that a commit replaced, if the new one has none that took its place."""
    had = base.sheet if isinstance(base, TableHeader) else base
    if had and not header.sheet:
        store.storage.remove(sheet_path(store, header.asset, header.partition))
