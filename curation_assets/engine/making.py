"""How a table of a shard is made: is it up to date, make it, check it, commit it.

What belongs here: what all sharded tables share. What does not: any table's work (the rooms), what a table declares (`component.py`), and
who is told of it (`orchestration/`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.checks import accounting, usable
from curation_assets.contracts.checks import Finding, failed_rows
from curation_assets.contracts.component import Component, Made, Stage
from curation_assets.engine.known_shards import see_that_known
from curation_assets.engine.meter import Meter
from curation_assets.engine.shard import Shard
from curation_assets.engine.sheets import drop_old_sheet, put_sheet
from curation_assets.engine.unread import FAULTS, noted, nothing_read, pending, said, settled
from curation_assets.rules.columns import inputs_of
from curation_assets.schemas import schema
from curation_assets.showing.figures import markdown_table
from curation_resources.content_hash import content_hash
from curation_resources.faults import ReadFault, stop_if_full
from curation_resources.provenance import Provenance, canonical_json
from curation_resources.replace import Superseded
from curation_resources.table_contracts import ContractError
from curation_resources.table_headers import TableHeader
from curation_resources.tables import Base, MediaGone, MissingTable
from curation_resources.words import plural

VIDEOS = "videos"
"""Where a table's stats hold the hash of each video's inputs, for stages by video."""
TRIES = 3
"""Times that a shard is made over what other runs commit of it meanwhile."""
LOST = "is gone from storage or cut short"


@dataclass(frozen=True)
class Outcome:
    """A committed asset of one shard: `made` is None if the table was up to date, and there are no findings then: those of its making still hold."""

    asset: str
    header: TableHeader
    made: Made | None
    findings: Sequence[Finding]


def expected(part: Component, shard: Shard) -> Provenance:
    """What `part` would be made from now.

    Raises:
        MissingTable: an input does not exist.
    """
    inputs: dict[str, str] = {}
    for asset in inputs_of(part, shard.recipe):
        header = shard.store.header(asset, shard.key)
        if header is None:
            raise MissingTable(
                f"{part.asset} of {shard.key} needs {asset}, which does not exist for that shard: materialize {asset} first"
            )
        inputs[asset] = header.content_hash
    for asset in part.slices:
        inputs[asset] = shard.slice_hash(asset)
    return Provenance(part.code_version, part.params(shard.recipe), inputs, dict(part.weights(shard.recipe)))


def video_hashes(
    shard: Shard, assets: Collection[str], reads: Mapping[str, Callable[[pa.Table], pa.Table]]
) -> dict[str, str]:
    """video_id -> hash over its rows in the given input tables, of those in `reads` over what that makes of them."""
    found: dict[str, list[str]] = {}
    for asset in sorted(assets):
        contract = schema(asset)
        table = reads.get(asset, lambda whole: whole)(shard.table(asset))
        table = table.sort_by([(k, "ascending") for k in dict.fromkeys(["video_id", *contract.key])])
        if not table.num_rows:
            continue
        runs = pc.run_end_encode(table["video_id"].combine_chunks())
        start = 0
        for video, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            found.setdefault(video, []).append(
                f"{asset} {content_hash(table.slice(start, end - start), skip=contract.volatile, later=contract.later)}"
            )
            start = end
    return {video: hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16] for video, rows in found.items()}


def earlier_faults(header: TableHeader | None, now: Provenance) -> Mapping[str, Any]:
    """The faults of a table that was made in the same way."""
    return header.stats.get(FAULTS, {}) if header is not None and same_way(header.provenance, now) else {}


def same_way(old: Provenance, new: Provenance) -> bool:
    """Whether two tables are made in the same way, whatever their inputs hold."""
    way = [(p.code_version, canonical_json(p.params), dict(p.weights), sorted(p.inputs)) for p in (old, new)]
    return way[0] == way[1]


def _kept_videos(
    stage: Stage,
    todo: Sequence[str],
    shard: Shard,
    provenance: Mapping[str, Provenance],
    headers: Mapping[str, TableHeader | None],
) -> tuple[dict[str, str], set[str]]:
    """The hash of each video's inputs now, and the videos whose rows are kept, of a stage by video."""
    now = video_hashes(shard, {i for a in todo for i in inputs_of(stage.part(a), shard.recipe)}, stage.reads)
    kept = set(now)
    for asset in todo:
        header = headers[asset]
        if header is None or shard.force or not same_way(header.provenance, provenance[asset]):
            return now, set()
        before = header.stats.get(VIDEOS, {})
        kept = {v for v in kept if before.get(v) == now[v]} - shard.without_media(header)
    return now, kept


def as_made(stage: Stage, wanted: Collection[str], shard: Shard) -> Shard | None:
    """The shard as its stage, one by video, would see it if it were made now; None if nothing of it would be. Nothing is written or removed.

    Raises:
        MissingTable: an input does not exist.
    """
    provenance = {p.asset: expected(p, shard) for p in stage.parts if p.asset in wanted}
    headers = {a: shard.store.header(a, shard.key) for a in provenance}
    todo = [
        a
        for a, header in headers.items()
        if header is None
        or shard.force
        or header.fingerprint != provenance[a].fingerprint
        or not settled(stage, header, shard)
    ]
    if not todo:
        return None
    now, kept = _kept_videos(stage, todo, shard, provenance, headers)
    changed = set(now) - kept
    return None if not changed else shard.only(changed) if kept else shard


def _make(
    stage: Stage,
    todo: Sequence[str],
    shard: Shard,
    provenance: Mapping[str, Provenance],
    headers: Mapping[str, TableHeader | None],
) -> dict[str, Made]:
    """Makes the assets in `todo`; of a stage by video, only what changed, with the rows of the other videos kept."""
    if not stage.by_video:
        return dict(stage.make(shard, todo))
    now, kept = _kept_videos(stage, todo, shard, provenance, headers)
    changed = set(now) - kept
    if changed or not now:
        made = dict(stage.make(shard.only(changed) if kept else shard, todo))
    else:
        made = {a: Made(schema(a).empty()) for a in todo}
    for asset, part in made.items():
        stop_if_full(part.faults.values())
        faults = noted(part.faults, earlier_faults(headers[asset], provenance[asset]), now, kept)
        nothing_read(asset, shard.key, faults, now)
        open_again = pending({FAULTS: faults}, shard.settings.max_attempts)
        hashes = {v: h for v, h in now.items() if v not in open_again}
        numbers = {"videos_made": len(changed), "videos_kept": len(kept), VIDEOS: hashes}
        table = shard.store.prepare(asset, part.table)
        if kept:
            old = shard.store.read(asset, shard.key)
            old = old.filter(pc.is_in(old["video_id"], value_set=pa.array(sorted(kept), pa.string())))
            table = pa.concat_tables([shard.store.prepare(asset, old), table])
        stats, metadata = stage.part(asset).shown(shard, table)
        if faults:
            numbers[FAULTS] = faults
            rows = [(v, f["kind"], f["attempts"], f["reason"]) for v, f in list(faults.items())[:20]]
            metadata = {**metadata, "not_read": markdown_table(("video", "fault", "attempts", "reason"), rows)}
            shard.log.warning(f"{asset} {shard.key}: {said(faults, len(now))}")
        made[asset] = Made(table, {**part.stats, **stats, **numbers}, {**metadata, **part.metadata}, part.faults)
    return made


def pace(made: Made, table: pa.Table, cpu_s: float) -> dict[str, float]:
    """CPU seconds per clip, or per video before there are clips; nothing where rows of an earlier run were kept."""
    unit = "clip" if "clip_id" in table.column_names else "video"
    number = pc.count_distinct(table[f"{unit}_id"]).as_py()
    if not number or made.stats.get("videos_kept"):
        return {}
    return {f"cpu_s_per_{unit}": round(cpu_s / number, 4)}


def rows_in(part: Component, shard: Shard) -> int:
    """Rows that a table is made from: those that it must account for, else those of its first input."""
    source = part.complete or next(iter(part.inputs), None)
    if source is None:
        return sum(shard.slice(a).num_rows for a in part.slices)
    return usable(source, shard.table(source)).num_rows


def media_bytes(table: pa.Table) -> dict[str, int]:
    """Size of the media that a table points at, if it points at any."""
    if "tar" not in table.column_names:
        return {}
    return {"bytes": pc.sum(table.filter(pc.is_valid(table["tar"]))["size"]).as_py() or 0}


def make_shard(stage: Stage, wanted: Collection[str], shard: Shard) -> Iterator[Outcome]:
    """Brings the wanted assets of one shard up to date and commits them, one by one.

    What another run commits of the shard in the meantime is taken if it was made from the same, else this is made again over it.

    Raises:
        MissingTable: an input does not exist.
        ContractError: a table breaks its contract or its accounting; it is not committed.
        Superseded: other runs committed other tables at each of several tries.
    """
    return over_others(shard.log, shard.key, wanted, lambda left: bring_shard(stage, left, shard.again()))


def bring_shard(stage: Stage, wanted: Collection[str], shard: Shard) -> Iterator[Outcome]:
    """One try of `make_shard`."""
    provenance = {p.asset: expected(p, shard) for p in stage.parts if p.asset in wanted}
    standing = {asset: shard.store.standing(asset, shard.key) for asset in provenance}
    headers = {asset: header for asset, (header, _) in standing.items()}
    fresh = {
        asset
        for asset, header in headers.items()
        if header is not None
        and not shard.force
        and header.fingerprint == provenance[asset].fingerprint
        and settled(stage, header, shard)
        and _media_there(stage.part(asset), shard, header)
    }
    todo = [a for a in provenance if a not in fresh]
    for asset in todo:
        for gathered in stage.part(asset).slices:
            see_that_known(asset, gathered, shard)
    made: Mapping[str, Made] = {}
    with Meter() as meter:
        if todo:
            made = _make(stage, todo, shard, provenance, headers)
    for asset in provenance:
        header = headers[asset]
        if asset in fresh and header is not None:
            yield Outcome(asset, header, None, ())
            continue
        result = made[asset]
        table = shard.store.prepare(asset, result.table)
        found = list(accounting(stage.part(asset).complete, asset, table, shard.table))
        for finding in found:
            if finding.blocking and not finding.passed and result.faults:
                first = next(iter(result.faults.values()))
                raise ReadFault(
                    f"{asset} of {shard.key}: {plural(len(result.faults), 'video')} could not be read ({first.kind}: {first.reason}); "
                    "the table in force stays"
                )
            if finding.blocking and not finding.passed:
                raise ContractError(f"{asset} of {shard.key}: {finding.description}")
        spent = meter.spent(shard.settings, len(todo), stage.gpus(shard.recipe))
        counted = {"rows_in": rows_in(stage.part(asset), shard), "rows_out": table.num_rows, **media_bytes(table)}
        counted |= failed_rows(table)
        stats = {**counted, **result.stats, **spent, **pace(result, table, spent["cpu_s"])}
        stats |= put_sheet(shard.store, asset, shard.key, result.metadata)
        base = standing[asset][1]
        header = _commit(stage.part(asset), shard, table, provenance[asset], stats, base)
        drop_old_sheet(shard.store, header, base)
        shard.forget(asset)
        yield Outcome(asset, header, result, found)


def _commit(
    part: Component, shard: Shard, table: pa.Table, made_from: Provenance, stats: Mapping[str, Any], base: Base
) -> TableHeader:
    """Commits a table over the one that was in force when it was begun.

    Of a run that is forced it has nothing of an earlier table, so it may replace what another run committed meanwhile too.
    """
    store = shard.store
    try:
        return store.commit(part.asset, shard.key, table, made_from, stats, base, part.journal)
    except Superseded:
        if not shard.force or expected(part, shard.again()).fingerprint != made_from.fingerprint:
            raise
        now = store.standing(part.asset, shard.key)[1]
        return store.commit(part.asset, shard.key, table, made_from, stats, now, part.journal)


def over_others(
    log: Any, key: str | None, wanted: Collection[str], attempt: Callable[[Sequence[str]], Iterator[Outcome]]
) -> Iterator[Outcome]:
    """What `attempt` gives for the wanted tables of a key. It reads the tables in force and commits over them; if another run commits
    meanwhile, it is called again for those that are left.

    Raises:
        Superseded: other runs committed at each of several tries.
    """
    left = list(wanted)
    for number in range(TRIES):
        try:
            for outcome in attempt(tuple(left)):
                left.remove(outcome.asset)
                yield outcome
            return
        except (Superseded, MediaGone) as error:
            if number == TRIES - 1:
                raise
            log.info(f"{error}; {', '.join(left)}{f' of {key}' if key else ''} is looked at again")


def _media_there(part: Component, shard: Shard, header: TableHeader) -> bool:
    """Whether the tars that a table names are there. Beside them, what earlier runs left in the partition's folder is swept."""
    if not part.journal and "tar" not in schema(part.asset).names:
        return True
    found = shard.store.files(part.asset, shard.key)
    lost = shard.store.lost_media(header, found)
    if lost:
        shard.log.warning(f"{part.asset} of {shard.key}: {', '.join(lost[:3])} {LOST}; what lay in it is made again")
        return False
    swept = shard.store.sweep(header, found)
    if swept:
        shard.log.info(
            f"{part.asset} of {shard.key}: {plural(len(swept), 'file is', 'files are')} removed that no table names"
        )
    return True
