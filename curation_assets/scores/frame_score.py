"""Scores that are computed from the sampled frames of each clip, declared in a few lines: a table, its section, its stage.

What belongs here: the walk over a shard's clips in a pool of processes, and the account of every clip. What does not: what is measured,
which is the business of the function that is handed over.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.contracts.component import Component, Made, RecipeKey, Stage, if_named
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, ERROR, STRING, Column, TableSchema
from curation_assets.decode.frames import pictures as stored_pictures
from curation_assets.engine.pods import pod
from curation_assets.scores.given_columns import misfit
from curation_assets.scores.shown import ranked_scores
from curation_assets.scores.stored_frames import Place, picture_of, read_stored
from curation_resources.faults import RESOURCE, Fault, fault_of
from curation_resources.storage import Storage

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard

Picture = NDArray[np.uint8]
"""(height, width, 3), red, green and blue."""
LIMIT_S, LIMIT_PER_FRAME_S = 60.0, 5.0
"""Wall time after which a clip is taken to hang: so many seconds, and so many per frame."""


def frame_score(
    asset: str,
    section: str,
    params: type[Section],
    columns: Sequence[Column],
    score: str,
    *,
    about: str,
    code_version: str = "1",
) -> Stage:
    """The stage of a score of clips that is computed from their sampled frames.

    Args:
        asset: name of the table, such as `greyscale_scores`.
        section: key of recipes that asks for it and holds its parameters.
        params: model of that section. With a key `where` of type `Rules`, clips that fail those rules get nulls.
        columns: what is measured; rules may name them, and they stand in the tables of subsets.
        score: `module:function`, called in worker processes as `function(pictures, params)`; pictures are those of one clip in order of
            time, uint8 (height, width, 3) in RGB, of the size that `frames.short_side` says. It gives column -> value, null (None) for
            what it cannot tell. What it raises goes into the clip's `error`, but for what storage or the machine is at fault for (OSError,
            MemoryError): such a clip's video is made again by the next run.
        about: a sentence for the UI and the docs.
        code_version: raised by hand when the same frames would give other values.
    """
    contract = TableSchema(
        asset,
        f"a clip's {section.replace('_', ' ')}",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            *columns,
            Column("estimator", STRING, "What was measured and how.", nullable=False),
            ERROR,
        ),
    )
    names = tuple(c.name for c in columns)
    component = Component(
        contract,
        "scores",
        about,
        code_version=code_version,
        keys=(RecipeKey(section, params),),
        asked_by=if_named(section),
        params=lambda recipe: getattr(recipe, section).model_dump(),
        inputs=("clips", "frames"),
        prefilter=section if "where" in params.model_fields else "",
        complete="clips",
        curated=names,
        charted=tuple(c.name for c in columns if pa.types.is_floating(c.type)),
    )

    def make(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
        given = getattr(shard.recipe, section)
        table, faults = score_frames(contract, shard, score, given, component.rules_of(shard.recipe))
        return {asset: Made(table, metadata=ranked_scores(shard, table, component.charted), faults=faults)}

    return Stage(
        asset,
        (component,),
        make,
        pool="cpu",
        op_tags=pod(cpu=4, memory="4Gi"),
        by_video=True,
        reads={"frames": stored_pictures},
    )


def score_frames(
    contract: TableSchema, shard: Shard, score: str, params: Section, rules: list[str]
) -> tuple[pa.Table, dict[str, Fault]]:
    """A table with one row per clip of a shard, and which videos could not be read now, by id."""
    from curation_assets.decode.reading.workers import Task, run_tasks
    from curation_assets.scores.prefilter import passing_clips

    passing = set(passing_clips(shard, rules)["clip_id"].to_pylist())
    pictures: dict[str, list[Place]] = {}
    for row in shard.table("frames").sort_by("time_ms").to_pylist():
        if row["tar"] is not None and row["clip_id"] in passing:
            pictures.setdefault(row["clip_id"], []).append(picture_of(row))
    clips = {c["clip_id"]: c for c in shard.table("clips").to_pylist() if c["status"] == "ok"}
    tasks = [Task(key, own, LIMIT_S + LIMIT_PER_FRAME_S * len(own)) for key, own in sorted(pictures.items())]
    _function(score)
    work = partial(_score_clip, shard.storage, score, params, contract.arrow)
    found: dict[str, Mapping[str, Any]] = {}
    faults: dict[str, Fault] = {}
    for outcome in run_tasks(work, tasks, min(shard.workers, len(tasks)), "clips"):
        result = outcome.result or Fault(RESOURCE, f"the clip {outcome.error}")
        if isinstance(result, Fault):
            faults[clips[outcome.key]["video_id"]] = result
            result = {"error": result.reason}
        found[outcome.key] = result
    failed = [r["error"] for r in found.values() if r.get("error")]
    if failed and len(failed) == len(found) and not faults and not shard.is_part:
        raise ValueError(f"{contract.asset} of {shard.key}: no clip could be scored; the first: {failed[0]}")
    estimator = f"{score} {params.model_dump_json(exclude={'where'})}"
    rows = []
    for key, clip in clips.items():
        nothing = {"error": "the clip has no readable frame"} if key in passing else {}
        own = {n: clip[n] for n in ("dataset", "video_id", "clip_id")}
        rows.append({**own, **found.get(key, nothing), "estimator": estimator})
    return pa.Table.from_pylist(rows, contract.arrow).sort_by([(k, "ascending") for k in contract.key]), faults


def _score_clip(
    storage: Storage, score: str, params: Section, contract: pa.Schema, places: Sequence[Place]
) -> Mapping[str, Any] | Fault:
    """Runs in a worker: the columns of one clip, or why it could not be read now."""
    from PIL import Image, UnidentifiedImageError

    data: dict[int, memoryview] = {}
    for i, found in read_stored(storage, places):
        if isinstance(found, Fault):
            return found
        data[i] = found
    try:
        pictures = [np.asarray(Image.open(io.BytesIO(data[i])).convert("RGB")) for i in range(len(places))]
    except (UnidentifiedImageError, OSError) as problem:
        return {"error": f"a sampled frame cannot be read: {problem}"}
    try:
        measured = dict(_function(score)(pictures, params))
    except Exception as problem:  # noqa: BLE001 - whatever somebody else's function does, it costs its clip and says so
        fault = fault_of(problem)
        if fault is not None:
            return fault
        if isinstance(problem, ValueError):
            return {"error": str(problem) or "ValueError"}
        return {"error": f"{score} failed ({type(problem).__name__}: {problem})"}
    wrong = misfit(measured, contract)
    return {"error": f"{score} {wrong}"} if wrong else measured


def _function(score: str) -> Callable[[list[Picture], Section], Mapping[str, Any]]:
    """Raises ValueError for a `module:function` that there is not."""
    module, _, name = score.partition(":")
    try:
        function: Callable[[list[Picture], Section], Mapping[str, Any]] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the score's function {score!r} cannot be had ({error})") from error
    return function
