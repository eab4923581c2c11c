"""What could not be read now and is tried again: the faults that tables of stages by video keep in their stats.

A fault is no property of a video (`curation_resources.faults`). Its rows are as if the video had failed, the table says so in its stats, and
the next run makes that video again, alone. Storage is asked again for ever; where memory, a process or a time limit failed, the video may be
the cause, so that after `max_attempts` runs its rows stay as they are until something else changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from curation_assets.ingest.error_classes import TRANSIENT_ERRORS
from curation_resources.faults import RESOURCE, STORAGE, Fault, ReadFault
from curation_resources.table_headers import TableHeader
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.contracts.component import Stage
    from curation_assets.engine.shard import Shard

FAULTS = "faults"
"""Where a table's stats hold, by video id, `kind`, `reason`, `attempts`, and `inputs`, the hash of what was attempted."""


def noted(
    new: Mapping[str, Fault], earlier: Mapping[str, Mapping[str, Any]], now: Mapping[str, str], kept: Collection[str]
) -> dict[str, dict[str, Any]]:
    """The faults of a table after a run.

    Args:
        new: of this run.
        earlier: of the table in force.
        now: video id -> hash of its inputs.
        kept: videos whose rows were kept.
    """
    faults = {v: dict(f) for v, f in earlier.items() if v in kept}
    for video, fault in sorted(new.items()):
        before = earlier.get(video, {})
        count = before.get("attempts", 0) if before.get("inputs") == now.get(video) else 0
        faults[video] = {
            "kind": fault.kind,
            "reason": fault.reason,
            "attempts": count + 1,
            "inputs": now.get(video),
        }
    return faults


def pending(stats: Mapping[str, Any], max_attempts: int) -> dict[str, Mapping[str, Any]]:
    """The faults among a table's stats that are to be tried again."""
    return {v: f for v, f in stats.get(FAULTS, {}).items() if f["kind"] != RESOURCE or f["attempts"] < max_attempts}


def settled(stage: Stage, header: TableHeader, shard: Shard) -> bool:
    """Whether making a table of `stage` again from the same would change nothing: no row failed for a reason that may pass."""
    return not pending(header.stats, shard.settings.max_attempts) and stage.up_to_date(header, shard)


def nothing_read(asset: str, shard: str, faults: Mapping[str, Mapping[str, Any]], videos: Collection[str]) -> None:
    """Raises ReadFault if storage gave not one of the videos: such a table would say nothing and replace one that does."""
    if faults and len(faults) == len(videos) and all(f["kind"] == STORAGE for f in faults.values()):
        raise ReadFault(f"{asset} of {shard}: {said(faults, len(videos))}")


def said(faults: Mapping[str, Mapping[str, Any]], videos: int) -> str:
    """`1 of 6 videos could not be read (storage): ...`, with the first reason of each kind."""
    parts = []
    for kind in sorted({f["kind"] for f in faults.values()}):
        own = [f["reason"] for f in faults.values() if f["kind"] == kind]
        parts.append(
            f"{len(own)} of {plural(videos, 'video')} could not be {'read' if kind == STORAGE else 'made'} ({kind}): {own[0]}"
        )
    return "; ".join(parts)


def why_again(asset: str, header: TableHeader, max_attempts: int) -> str:
    """Why a table that is up to date is to be made again all the same."""
    stats = header.stats
    faults = pending(stats, max_attempts)
    if faults:
        count = Counter(f["kind"] for f in faults.values())
        many = ", ".join(f"{n} for {kind}" for kind, n in sorted(count.items()))
        return f"{plural(len(faults), 'video')} could not be read ({many}): {next(iter(faults.values()))['reason']}"
    errors = {c: n for c, n in stats.get("errors", {}).items() if c in TRANSIENT_ERRORS}
    if errors:
        return f"{plural(sum(errors.values()), 'video')} failed for a reason that may pass: {', '.join(f'{c} {n}' for c, n in sorted(errors.items()))}"
    if "errors" not in stats and stats.get("failed"):
        return f"{stats['failed']} {asset} could not be had"
    return "some rows failed for a reason that may pass"
