"""A caption per clip: from the source, from subtitles, or from a model that looks at the clip's frames.

What belongs here: a shard's clips and how answers become rows. What does not: texts that are there already (`given_texts.py`), what a model is
asked and which answers are reused (`model_captions.py`), which backend answers (`caption_backends.py`), cleaning (`cleaning.py`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.captions.caption_backends import WITHOUT_MODEL
from curation_assets.captions.cleaning import clean_caption, detect_language, score_suffix
from curation_assets.captions.given_texts import SourceTexts, best_cues, clip_subtitles
from curation_assets.captions.model_captions import CaptionDraft, CaptionStats, ModelCaptions, digest_of
from curation_assets.schemas import schema
from curation_assets.scores.embedding import asset_table
from curation_resources.captioners.base import Captioner, CaptionRequest
from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage

if TYPE_CHECKING:
    from curation_assets.captions.captions import Captions
    from curation_resources.journal import Journal


@dataclass(frozen=True)
class CaptionInputs:
    """What the captions of a shard are made from.

    Attributes:
        clips, frames, metadata, raw: rows of `clips`, `frames`, `video_metadata` and `raw_shards` of the shard.
        wanted: ids of the clips that pass the section's `where`; None is all. Others get a row with status `skipped`.
        scores: clip id -> `motion` and `aesthetic`, for suffixes.
        previous: the table in force, whose unchanged rows are reused.
    """

    clips: pa.Table
    frames: pa.Table
    metadata: pa.Table
    raw: pa.Table
    wanted: Collection[str] | None = None
    scores: Mapping[str, Mapping[str, float | None]] | None = None
    previous: pa.Table | None = None


def caption_shard(
    inputs: CaptionInputs,
    params: Captions,
    storage: Storage,
    *,
    journal: Journal | None = None,
    captioner: Captioner | None = None,
    refiner: Captioner | None = None,
) -> tuple[pa.Table, CaptionStats]:
    """Captions the clips of a shard.

    Args:
        inputs: clips, their frames, and what is said of them.
        params: the recipe's `captions` section.
        storage: where the tars of `frames` lie.
        journal: answers of an interrupted run, and where this run's go. The caller removes it once the table is committed.
        captioner, refiner: from `load_captioner` and `load_refiner`.

    Returns:
        The `captions` table with a row per clip, and what was done. A clip's caption comes from answers to questions about its own
        frames and from nothing else; a question that failed makes the row `failed`.

    Raises:
        ServerUnusable, MissingWeights, WrongWeights: no question can be answered; what was answered before is in the journal.
    """
    started = time.perf_counter()
    raw = inputs.raw
    run = ModelCaptions(params, storage, journal, _previous_rows(inputs.previous))
    rows = _drafts(inputs)
    active = [row for row in rows if not row.skipped]
    if params.backend not in WITHOUT_MODEL:
        if captioner is None:
            raise ValueError(f"backend {params.backend} needs the captioner that load_captioner gives")
        run.ask_about_frames(active, inputs.frames, captioner)
    else:
        said = SourceTexts(inputs.metadata, raw, params.several) if params.backend == "source" else None
        cues = best_cues(raw, params.languages) if params.backend == "subtitles" else {}
        for row in active:
            clip = row.clip
            text = said.of(clip) if said is not None else clip_subtitles(clip, cues.get(clip["video_id"], ()))
            row.raw, row.fingerprint = text or "", digest_of([params.backend, text])
    for row in active:
        if row.raw is not None:
            row.cleaned = clean_caption(row.raw, params.clean)
    if params.clean.refine is not None:
        if refiner is None:
            raise ValueError("captions.clean.refine needs the refiner that load_refiner gives")
        run.refine([row for row in active if row.cleaned], params.clean.refine, refiner)
    kept = run.previous if params.backend not in WITHOUT_MODEL else {}
    finished = [
        _finish(row, params, (inputs.scores or {}).get(row.clip["clip_id"], {}))
        | {"kept_answer": _kept_answer(kept.get(row.clip["clip_id"], {})) if row.skipped else None}
        for row in rows
    ]
    table = asset_table("captions", {name: [row[name] for row in finished] for name in schema("captions").names})
    return table, run.stats(finished, time.perf_counter() - started)


def questions_of(inputs: CaptionInputs, params: Captions, storage: Storage) -> list[CaptionRequest]:
    """What `caption_shard` would ask about frames, but for what its journal has been answered."""
    run = ModelCaptions(params, storage, None, _previous_rows(inputs.previous))
    return run.questions([row for row in _drafts(inputs) if not row.skipped], inputs.frames)[0]


def _drafts(inputs: CaptionInputs) -> list[CaptionDraft]:
    """A draft for each clip."""
    return [
        CaptionDraft(clip, skipped=inputs.wanted is not None and clip["clip_id"] not in inputs.wanted)
        for clip in inputs.clips.filter(pc.equal(inputs.clips["status"], "ok")).to_pylist()
    ]


ANSWERED = (
    "caption_raw",
    "caption_refined",
    "model",
    "row_fingerprint",
    "refine_fingerprint",
    "prompt_tokens",
    "completion_tokens",
)
"""What of a row its model has answered, and by what that holds."""


def _previous_rows(previous: pa.Table | None) -> dict[str, dict[str, Any]]:
    """clip_id -> its row, of a clip that was skipped with the answers that were kept of it."""
    rows = previous.to_pylist() if previous is not None else []
    return {row["clip_id"]: row | json.loads(row.get("kept_answer") or "{}") for row in rows}


def _kept_answer(before: Mapping[str, Any]) -> str | None:
    """What a skipped clip's row keeps of the one before."""
    if before.get("caption_raw") is None or before.get("row_fingerprint") is None:
        return None
    return canonical_json({name: before[name] for name in ANSWERED if before.get(name) is not None})


def _finish(row: CaptionDraft, params: Captions, scores: Mapping[str, float | None]) -> dict[str, Any]:
    caption = row.cleaned if row.refined is None else clean_caption(row.refined, params.clean)
    status, error = "ok", row.error
    if row.skipped:
        status = "skipped"
    elif error is not None:
        status, caption = "failed", ""
    elif not caption:
        status, error = (
            "empty",
            "nothing is left after cleaning" if row.raw else "the backend has no text for this clip",
        )
    language = detect_language(caption) if caption else None
    suffix = score_suffix(params.clean.suffixes, scores.get("motion"), scores.get("aesthetic")) if caption else ""
    return {
        **{name: row.clip[name] for name in ("dataset", "video_id", "clip_id")},
        "caption": f"{caption} {suffix}".rstrip() or None,
        "caption_raw": row.raw,
        "caption_refined": row.refined,
        "backend": params.backend,
        "model": row.model,
        "language": language,
        "status": status,
        "error": error,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "row_fingerprint": row.fingerprint,
        "refine_fingerprint": row.refine_fingerprint,
    }
