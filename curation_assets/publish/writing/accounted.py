"""Whether a version has a row for all that its subset has selected, told from both tables side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.checks import CONTRACT_CHECK
from curation_assets.contracts.checks import Finding, outcomes
from curation_assets.publish.curating.selected_rows import BATCH_ROWS
from curation_assets.publish.curating.side_by_side import side_by_side
from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_resources.tables import TableStore

SEPARATOR = "\0"


def accounted(store: TableStore, recipes: Mapping[str, Recipe], key: str, name: str) -> Finding:
    """Whether every selected clip, or track, has its row.

    Args:
        key: of the subset.
        name: `clip_dataset` or `embedding_dataset`.
    """
    selection = Selection.over(recipes, key, ())
    export = selection.subset.export
    if (export.clips if name == "clip_dataset" else export.embeddings) is None:
        header = store.header(name, key)
        return Finding(CONTRACT_CHECK, header is None or not header.rows, "the subset exports none")
    by_track = name == "clip_dataset" and export.clips is not None and export.clips.tracks
    column = "track_id" if by_track else "clip_id"
    wanted, rows, by, odd = 0, 0, Counter[str](), list[str]()
    selected = _selected(store, selection.asset, key, ["dataset", "video_id", column])
    for chosen, made in side_by_side(selected, _exported(store, name, key, ["dataset", "video_id", column, "status"])):
        ids, found = (pc.unique(_ids(t, column)) for t in (chosen, made))
        wanted, rows = wanted + len(ids), rows + made.num_rows
        by.update(outcomes(made))
        for few, many in ((ids, found), (found, ids)):
            if not odd:
                odd = few.filter(pc.invert(pc.is_in(few, value_set=many))).slice(0, 1).to_pylist()
    metadata = {"rows_in": wanted, "rows": rows, "ok": by["ok"], "failed": by["failed"]}
    if odd:
        said = f"selected and exported differ, first in {odd[0].split(SEPARATOR)[1]}"
        return Finding(CONTRACT_CHECK, False, said, metadata=metadata)
    return Finding(CONTRACT_CHECK, True, f"all {wanted} selected are accounted for", metadata=metadata)


def _ids(rows: pa.Table, column: str) -> pa.Array:
    """What says which clip or track each row is of."""
    return pc.binary_join_element_wise(rows["dataset"], pc.fill_null(rows[column], ""), SEPARATOR).combine_chunks()


def _selected(store: TableStore, asset: str, key: str, columns: list[str]) -> Iterator[pa.Table]:
    for batch in store.batches(asset, [*columns, "selected"], BATCH_ROWS, key):
        table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
        yield table.filter(table["selected"]).select(columns)


def _exported(store: TableStore, name: str, key: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pylist([], pa.schema([schema(name).arrow.field(c) for c in columns]))
    for batch in store.batches(name, columns, BATCH_ROWS, key):
        yield batch.select(columns)
