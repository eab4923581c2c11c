"""What must hold of every table: its contract (which the store enforces when it commits), its accounting, and what is particular to one."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_resources.extras import MissingExtra
from curation_resources.storage import MediaRef, Storage, StorageError

CONTRACT_CHECK = "contract"
MIN_YIELD = 0.5
"""Share of usable videos below which a warning is given."""
MEDIA_SAMPLE = 8
"""Entries of a table whose bytes are read back and hashed,"""
MEDIA_BYTES = 64_000_000
"""and how many bytes they may be together: large entries are left out."""
MAX_OVER_COVERS = 0.2
"""Share of covered faces that a second detector may take for faces. YuNet takes up to 7 % of ellipses in one colour for faces, by the
heads around them, and nearly all faces that are not covered."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check on one table."""

    check: str
    passed: bool
    description: str
    blocking: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


EVERY_ROW = ("video_metadata", "captions")
"""Assets of which every row goes on, whatever its status: rejected videos have a row downstream, and so have clips without a caption."""


def usable(asset: str, table: pa.Table) -> pa.Table:
    """The rows that the next stage must account for: those that came out well."""
    return (
        table.filter(pc.equal(table["status"], "ok"))
        if "status" in table.column_names and asset not in EVERY_ROW
        else table
    )


ACCOUNTED = ("video_id", "clip_id", "status")
"""Columns that `accounting` reads, as far as a table has them."""


def outcomes(table: pa.Table) -> dict[str, int]:
    """Status -> rows; a table without a status is all ok."""
    if "status" not in table.column_names:
        return {"ok": table.num_rows}
    return {t["values"]: t["counts"] for t in pc.value_counts(table["status"]).to_pylist()}


def accounting(source: str | None, asset: str, table: pa.Table, read: Callable[[str], pa.Table]) -> Iterator[Finding]:
    """Checks that every usable row of `source` has its row, or rows, in `table`.

    Args:
        source: asset whose rows must be accounted for; None checks nothing but counts.
        asset: asset of `table`.
        table: a table that fits its schema.
        read: asset -> its table for the same shard.
    """
    by = outcomes(table)
    metadata: dict[str, Any] = {"rows": table.num_rows, **by}
    if source is None:
        yield Finding(CONTRACT_CHECK, True, f"{table.num_rows} rows fit the schema", metadata=metadata)
        return
    key = "clip_id" if "clip_id" in table.column_names and source != "raw_shards" else "video_id"
    wanted = pc.unique(usable(source, read(source))[key].drop_null())
    found = pc.unique(table[key].drop_null())
    lost = wanted.filter(pc.invert(pc.is_in(wanted, value_set=found)))
    strange = found.filter(pc.invert(pc.is_in(found, value_set=wanted)))
    metadata["rows_in"] = len(wanted)
    if len(lost):
        yield Finding(
            CONTRACT_CHECK,
            False,
            f"{len(lost)} rows of {source} have no row, the first is {lost[0].as_py()}",
            metadata=metadata,
        )
    elif len(strange):
        yield Finding(
            CONTRACT_CHECK,
            False,
            f"{len(strange)} rows are not in {source}, the first is {strange[0].as_py()}",
            metadata=metadata,
        )
    else:
        yield Finding(CONTRACT_CHECK, True, f"all {len(wanted)} rows of {source} are accounted for", metadata=metadata)


@dataclass(frozen=True)
class Check:
    """A check beside the contract, of the table of one partition.

    Attributes:
        name: as the UI shows it.
        description: what holds if it passes.
        blocking: whether a failure can stop what comes after; the finding says whether it does.
        judge: (table, its stats, storage) -> the finding.
        columns: those of the table that it reads, which alone it is given.
    """

    name: str
    description: str
    blocking: bool
    judge: Callable[[pa.Table, Mapping[str, Any], Storage], Finding]
    columns: tuple[str, ...]


def _yield(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    by = outcomes(table)
    wanted = by.get("ok", 0) + by.get("failed", 0)
    share = by.get("ok", 0) / wanted if wanted else 1.0
    metadata = {"yield": round(share, 4), **by}
    return Finding("yield", share >= MIN_YIELD, f"{share:.0%} of the videos came out well", False, metadata)


def _sample(table: pa.Table) -> list[dict[str, Any]]:
    """A few rows from all over a table that lie in tars and are not large."""
    known = table.filter(pc.is_valid(table["offset"]))
    small = known.filter(pc.less_equal(known["size"], MEDIA_BYTES // MEDIA_SAMPLE))
    step = max(1, small.num_rows // MEDIA_SAMPLE)
    rows: list[dict[str, Any]] = small.take(
        pa.array(range(0, small.num_rows, step), pa.int64())[:MEDIA_SAMPLE]
    ).to_pylist()
    return rows


def _media(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    known = table.filter(pc.and_(pc.is_valid(table["tar"]), pc.is_valid(table["sha256"])))
    rows = _sample(known)
    for row in rows:
        try:
            data = storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
        except StorageError as error:
            return Finding("media", False, str(error))
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            place = f"{row['tar']} at {row['offset']}"
            return Finding(
                "media",
                False,
                f"the bytes of {row.get('clip_id') or row.get('video_id')} in {place} are not those that the table names; remove that file",
            )
    return Finding(
        "media",
        True,
        f"{len(rows)} of {known.num_rows} entries read back and found whole",
        metadata={"read": len(rows)},
    )


def _apart(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    if "apart" not in stats:
        return Finding("alignment", True, "too few captioned videos to compare with shuffled captions", False)
    numbers = {k: stats[k] for k in ("gap_clips", "matched", "shuffled", "auc")}
    said = f"own captions match {stats['matched']:.1f}, those of other videos {stats['shuffled']:.1f}"
    return Finding("alignment", bool(stats["apart"]), said, bool(stats.get("block")), numbers)


def _one_model(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    models = pc.unique(table["model"]).to_pylist()
    return Finding("one_model", len(models) <= 1, f"embeddings of {', '.join(models) or 'no model'}", True)


def _single_shots(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    from curation_assets.publish.cutting.shot_check import boundaries_ms

    rows = _sample(table)
    cut: list[str] = []
    for row in rows:
        try:
            found = boundaries_ms(io.BytesIO(storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))))
        except MissingExtra as error:
            return Finding("single_shots", True, f"not looked at: {error}", False)
        except (StorageError, ValueError) as error:
            return Finding("single_shots", False, f"{row['sample_key']} cannot be looked at: {error}", False)
        if found:
            cut.append(f"{row['sample_key']} at {found[0]} ms")
    said = f"no boundary in {len(rows)} of {table.num_rows} clips that were looked at"
    if cut:
        said = f"{len(cut)} of {len(rows)} clips that were looked at have a shot boundary: {', '.join(cut)}"
    return Finding("single_shots", not cut, said, False, {"clips": len(rows), "with_boundary": len(cut)})


def _no_leaks(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    found = stats.get("leaks")
    if not found:
        blurred = "leaks" in stats
        said = "no second face detector; export.clips.leak_model names one" if blurred else "faces are not blurred"
        return Finding("face_leaks", True, said, False)
    over = found["over_covers"] / max(1, found["covers"])
    said = (
        f"{found['detector']} finds {found['faces']} faces in {found['frames']} frames of {found['clips']} blurred clips"
        f" and takes {found['over_covers']} of {found['covers']} covers for one"
    )
    if found["where"]:
        said += f"; the first face is in {found['where'][0]}"
    return Finding("face_leaks", not found["faces"] and over <= MAX_OVER_COVERS, said, False, dict(found))


def _no_duplicates(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    selected = table.filter(table["selected"])
    copies = selected.filter(pc.equal(selected["keep"], False))
    numbers = {
        "selected": selected.num_rows,
        "duplicates": copies.num_rows,
        "not_compared": selected["keep"].null_count,
    }
    said = f"no duplicate among {selected.num_rows} selected clips"
    if selected["keep"].null_count:
        said += f"; {selected['keep'].null_count} were compared with none"
    if copies.num_rows:
        first = copies["clip_id"][0].as_py()
        said = (
            f"{copies.num_rows} selected clips have a better copy, the first is {first}; the rule keep leaves them out"
        )
    return Finding("no_duplicates", not copies.num_rows, said, False, numbers)


def _media_of(key: str) -> Check:
    about = "Tar entries hold the bytes that the table names (a sample is read back)."
    return Check("media", about, True, _media, (key, "tar", "offset", "size", "sha256"))


CHECKS: Mapping[str, tuple[Check, ...]] = {
    "raw_shards": (
        Check("yield", f"At least {MIN_YIELD:.0%} of the videos came out well.", False, _yield, ("status",)),
        _media_of("video_id"),
    ),
    "frames": (_media_of("clip_id"),),
    "frame_embeddings": (Check("one_model", "All embeddings are of one model.", True, _one_model, ("model",)),),
    "caption_scores": (
        Check("alignment", "Captions match their own clips better than those of other videos.", True, _apart, ()),
    ),
    "curated_clips": (
        Check(
            "no_duplicates",
            "No selected clip has a better copy, in any shard or dataset.",
            False,
            _no_duplicates,
            ("clip_id", "selected", "keep"),
        ),
    ),
    "clip_dataset": (
        _media_of("clip_id"),
        Check(
            "single_shots",
            "A sample of the exported clips has no shot boundary.",
            False,
            _single_shots,
            ("sample_key", "tar", "offset", "size"),
        ),
        Check("face_leaks", "A second detector finds no face in a sample of blurred clips.", False, _no_leaks, ()),
    ),
    "embedding_dataset": (_media_of("clip_id"),),
}
"""Checks of an asset beside its contract."""


def further(asset: str, stats: Mapping[str, Any], storage: Storage, read: Callable[..., pa.Table]) -> Iterator[Finding]:
    """The findings of an asset's checks beside its contract, on a committed table.

    Args:
        read: columns -> the table.
    """
    for check in CHECKS.get(asset, ()):
        yield check.judge(read(columns=check.columns), stats, storage)


def check_names(asset: str) -> list[str]:
    """All checks of an asset, the contract first."""
    return [CONTRACT_CHECK, *(c.name for c in CHECKS.get(asset, ()))]
