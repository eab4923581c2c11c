"""The rows of a version's table after its tars were amended: where their samples lie now, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.clip_dataset import TABLE as CLIP_DATASET
from curation_assets.takedown.tar_rewriting import members
from curation_resources.storage import Storage


class Placed:
    """Gives rows the offsets that their samples have in the tars as these are now.

    Args:
        asset: whose rows they are.
        tars: those that were amended, which alone are looked into.
    """

    def __init__(self, storage: Storage, asset: str, tars: Collection[str]) -> None:
        self._ending = "mp4" if asset == CLIP_DATASET.asset else "npy"
        self._tars = pa.array(sorted(t for t in tars if t.endswith(".tar")), pa.string())
        self._storage, self._where = storage, dict[str, dict[str, int]]()

    def rows(self, table: pa.Table) -> pa.Table:
        """Some rows, placed."""
        endings = {"": pa.repeat(self._ending, table.num_rows)}
        if "audio_format" in table.column_names:
            endings["audio_"] = table["audio_format"]
        for prefix, ending in endings.items():
            moved = pc.is_in(table[f"{prefix}tar"], value_set=self._tars)
            if not pc.any(moved).as_py():
                continue
            at = table.schema.get_field_index(f"{prefix}offset")
            kind, offsets = table.schema.field(at), table[f"{prefix}offset"].to_pylist()
            columns = (table[f"{prefix}tar"], table["sample_key"], ending, moved)
            for n, (tar, key, end, mine) in enumerate(zip(*(c.to_pylist() for c in columns), strict=True)):
                if mine:
                    offsets[n] = self._members(tar).get(f"{key}.{end}", offsets[n])
            table = table.set_column(at, kind, pa.chunked_array([pa.array(offsets, kind.type)]))
        return table

    def _members(self, tar: str) -> dict[str, int]:
        """Member of a tar -> where it begins."""
        if tar not in self._where:
            there = self._storage.exists(tar)
            self._where[tar] = {m.name: m.offset_data for m in members(self._storage, tar)} if there else {}
        return self._where[tar]


class SamplesLeft:
    """Counts what the rows of a version come to."""

    def __init__(self) -> None:
        self._splits: Counter[str] = Counter()
        self._samples = self._ms = 0
        self._timed = False

    def of(self, rows: pa.Table) -> pa.Table:
        """Counts some rows, and gives them back."""
        ok = rows.filter(pc.equal(rows["status"], "ok"))
        self._samples += ok.num_rows
        for entry in pc.value_counts(ok["split"]).to_pylist():
            self._splits[entry["values"]] += entry["counts"]
        if "start_ms" in ok.column_names:
            self._timed = True
            self._ms += pc.sum(pc.subtract(ok["end_ms"], ok["start_ms"])).as_py() or 0
        return rows

    def stats(self, rows: int) -> dict[str, Any]:
        """What the stats of the table say of its `rows`."""
        hours = {"hours": round(self._ms / 3_600_000, 4)} if self._timed else {}
        fewer = {"samples": self._samples, "failed": rows - self._samples, "splits": dict(self._splits)}
        return {**fewer, "rows_out": rows, **hours}
