"""A caption per clip: from the source, from subtitles, or from a model that looks at the clip's frames.

What belongs here: what is asked, what is reused, and how answers become rows. Backends that compute are in `curation_resources.captioners`,
cleaning is in `caption_cleaning`.

A row is reused while its `row_fingerprint` holds, so the expensive step runs only for clips whose frames, prompt or model changed;
cleaning is cheap and always done anew. Answers go to a journal as they come, so a killed run asks nothing twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.captions.cleaning import clean_caption, detect_language, score_suffix
from curation_assets.ingest.source_words import source_captions, span_of
from curation_assets.schemas import schema
from curation_assets.scores.embedding import asset_table
from curation_resources.captioners import (
    CaptionAnswer,
    Captioner,
    CaptionRequest,
    LazyCaptioner,
    OpenAICaptioner,
    load_transformers_captioner,
    transformers_identity,
)
from curation_resources.progress import told
from curation_resources.storage import MediaRef, Storage

if TYPE_CHECKING:
    from curation_assets.captions.captions import Captions, TextModel
    from curation_resources.journal import Journal

MIN_OVERLAP_MS = 250
"""A cue belongs to a clip if they share so much time, or half of the shorter of the two."""
WITHOUT_MODEL = ("source", "subtitles")


@dataclass(frozen=True)
class CaptionStats:
    """What one run did.

    Attributes:
        clips: rows; the sum of `ok`, `empty`, `failed` and `skipped`.
        requests: questions put to a model in this run, refinements included.
        reused, resumed: rows taken from the previous table, answers taken from the journal of an interrupted run.
        prompt_tokens, completion_tokens: of this run's requests, as far as the backend counts them.
        cost: of them by the recipe's prices, in their currency; None without prices.
        cost_per_clip: mean cost of the captions in the table, whichever run paid for them; None without prices or counts.
        seconds: wall time.
    """

    clips: int
    ok: int
    empty: int
    failed: int
    skipped: int
    requests: int
    reused: int
    resumed: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    cost_per_clip: float | None
    seconds: float

    @property
    def seconds_per_clip(self) -> float | None:
        """Wall time by clip that was not skipped or taken over."""
        asked = self.clips - self.skipped - self.reused
        return self.seconds / asked if asked > 0 else None


@dataclass
class _Row:
    """A clip on its way to a row."""

    clip: Mapping[str, Any]
    fingerprint: str | None = None
    keys: list[str] = field(default_factory=list)
    raw: str | None = None
    cleaned: str = ""
    refined: str | None = None
    refine_fingerprint: str | None = None
    error: str | None = None
    skipped: bool = False
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def caption_identity(params: Captions) -> str:
    """What identifies the backend's model in a fingerprint, without loading it."""
    brought = params.brought_identity()
    if brought:
        return " ".join(*brought.items())
    if params.backend == "transformers":
        return f"transformers {transformers_identity(str(params.model))}"
    return f"openai {params.model}" if params.backend == "openai" else params.backend


def load_captioner(params: Captions) -> Captioner | None:
    """The backend of the recipe; None for `source` and `subtitles`, which need none.

    A model of `transformers` is loaded by the first question, so a shard without one needs no weights.
    """
    brought = params.chosen()
    if brought is not None:
        make, options = brought
        made: Captioner = make(params, options)
        return made
    if params.backend == "openai":
        return _server(params, str(params.url), str(params.model), params.max_tokens)
    if params.backend == "transformers":
        return LazyCaptioner(
            partial(
                load_transformers_captioner,
                str(params.model),
                max_tokens=params.max_tokens,
                temperature=params.temperature,
                seed=params.seed,
                batch=params.batch,
                device=params.device,
                dtype=params.dtype,
            )
        )
    return None


def load_refiner(params: Captions) -> Captioner | None:
    """The text model that refines captions; None if the recipe has none."""
    refine = params.clean.refine
    return None if refine is None else _server(params, refine.url, refine.model, refine.max_tokens)


def _server(params: Captions, url: str, model: str, max_tokens: int) -> OpenAICaptioner:
    return OpenAICaptioner(
        url,
        model,
        max_tokens=max_tokens,
        temperature=params.temperature,
        seed=params.seed,
        concurrency=params.concurrency,
        timeout_s=params.timeout_s,
        attempts=params.attempts,
        key_env=params.key_env,
    )


def caption_shard(
    clips: pa.Table,
    frames: pa.Table,
    metadata: pa.Table,
    raw: pa.Table,
    params: Captions,
    storage: Storage,
    *,
    wanted: Collection[str] | None = None,
    scores: Mapping[str, Mapping[str, float | None]] | None = None,
    previous: pa.Table | None = None,
    journal: Journal | None = None,
    captioner: Captioner | None = None,
    refiner: Captioner | None = None,
) -> tuple[pa.Table, CaptionStats]:
    """Captions the clips of a shard.

    Args:
        clips, frames, metadata, raw: rows of `clips`, `frames`, `video_metadata` and `raw_shards` of the shard.
        params: the recipe's `captions` section.
        storage: where the tars of `frames` lie.
        wanted: ids of the clips that pass the section's `where`; None is all. Others get a row with status `skipped`.
        scores: clip id -> `motion` and `aesthetic`, for suffixes.
        previous: the table in force, whose unchanged rows are reused.
        journal: answers of an interrupted run, and where this run's go. The caller removes it once the table is committed.
        captioner, refiner: from `load_captioner` and `load_refiner`.

    Returns:
        The `captions` table with a row per clip, and what was done. A clip's caption comes from answers to questions about its own
        frames and from nothing else; a question that failed makes the row `failed`.

    Raises:
        ServerUnusable, MissingWeights, WrongWeights: no question can be answered; what was answered before is in the journal.
    """
    started = time.perf_counter()
    run = _Run(params, storage, journal, _previous_rows(previous))
    rows = [
        _Row(clip, skipped=wanted is not None and clip["clip_id"] not in wanted)
        for clip in clips.filter(pc.equal(clips["status"], "ok")).to_pylist()
    ]
    active = [row for row in rows if not row.skipped]
    if params.backend not in WITHOUT_MODEL:
        if captioner is None:
            raise ValueError(f"backend {params.backend} needs the captioner that load_captioner gives")
        run.ask_about_frames(active, frames, captioner)
    else:
        said = _SourceTexts(metadata, raw, params.several) if params.backend == "source" else None
        cues = _cues(raw, params.languages) if params.backend == "subtitles" else {}
        for row in active:
            clip = row.clip
            text = said.of(clip) if said is not None else clip_subtitles(clip, cues.get(clip["video_id"], ()))
            row.raw, row.fingerprint = text or "", _hash([params.backend, text])
    for row in active:
        if row.raw is not None:
            row.cleaned = clean_caption(row.raw, params.clean)
    if params.clean.refine is not None:
        if refiner is None:
            raise ValueError("captions.clean.refine needs the refiner that load_refiner gives")
        run.refine([row for row in active if row.cleaned], params.clean.refine, refiner)
    finished = [_finish(row, params, (scores or {}).get(row.clip["clip_id"], {})) for row in rows]
    table = asset_table("captions", {name: [row[name] for row in finished] for name in schema("captions").names})
    return table, run.stats(finished, time.perf_counter() - started)


def _previous_rows(previous: pa.Table | None) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: row for row in previous.to_pylist()} if previous is not None else {}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


class _Run:
    """Questions and answers of one call of `caption_shard`."""

    def __init__(
        self,
        params: Captions,
        storage: Storage,
        journal: Journal | None,
        previous: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.params, self.storage, self.journal, self.previous = params, storage, journal, previous
        self.requests = self.reused = self.resumed = self.prompt_tokens = self.completion_tokens = 0

    def ask_about_frames(self, rows: Iterable[_Row], frames: pa.Table, captioner: Captioner) -> None:
        """Fills in `raw` or `error` of each row."""
        by_clip: dict[str, list[dict[str, Any]]] = defaultdict(list)
        columns = ["clip_id", "time_ms", "tar", "offset", "size", "sha256"]
        for frame in frames.select(columns).sort_by([("clip_id", "ascending"), ("time_ms", "ascending")]).to_pylist():
            by_clip[frame["clip_id"]].append(frame)
        identity = caption_identity(self.params)
        questions: list[CaptionRequest] = []
        waiting: list[_Row] = []
        for row in rows:
            windows = _windows(row.clip, by_clip.get(row.clip["clip_id"], []), self.params)
            if not windows:
                row.error = "clip has no frames to look at; materialize frames again"
                continue
            row.keys = [self._key(row.clip["clip_id"], i, window, identity) for i, window in enumerate(windows)]
            row.fingerprint = _hash(row.keys)
            before = self.previous.get(row.clip["clip_id"], {})
            if before.get("row_fingerprint") == row.fingerprint and before.get("caption_raw") is not None:
                row.raw, row.model = before["caption_raw"], before["model"]
                row.prompt_tokens, row.completion_tokens = before.get("prompt_tokens"), before.get("completion_tokens")
                self.reused += 1
                continue
            waiting.append(row)
            for key, window in zip(row.keys, windows, strict=True):
                questions.append(CaptionRequest(key, self.params.prompt, partial(_read_frames, self.storage, window)))
        answers = self._ask(questions, captioner)
        for row in waiting:
            own = [answers[key] for key in row.keys]
            row.error, row.model = next((a["error"] for a in own if a["error"]), None), own[0]["model"]
            row.prompt_tokens, row.completion_tokens = (
                _total(a[n] for a in own) for n in ("prompt_tokens", "completion_tokens")
            )
            if row.error is None:
                row.raw = "\n\n".join(a["text"] for a in own if a["text"].strip())

    def _key(self, clip_id: str, window: int, frames: Sequence[Mapping[str, Any]], identity: str) -> str:
        p = self.params
        pictures = [frame["sha256"] or f"{frame['tar']}:{frame['offset']}" for frame in frames]
        return _hash([clip_id, window, pictures, p.prompt, identity, p.max_tokens, p.temperature, p.seed, p.dtype])

    def refine(self, rows: Iterable[_Row], refine: TextModel, refiner: Captioner) -> None:
        """Fills in `refined` of each row, or its error."""
        questions: list[CaptionRequest] = []
        waiting: list[_Row] = []
        for row in rows:
            prompt = refine.prompt.replace("{caption}", row.cleaned)
            row.refine_fingerprint = _hash(
                [
                    row.clip["clip_id"],
                    "refine",
                    prompt,
                    refine.model,
                    refine.max_tokens,
                    self.params.temperature,
                    self.params.seed,
                ]
            )
            before = self.previous.get(row.clip["clip_id"], {})
            if before.get("refine_fingerprint") == row.refine_fingerprint and before.get("caption_refined") is not None:
                row.refined = before["caption_refined"]
                continue
            waiting.append(row)
            questions.append(CaptionRequest(row.refine_fingerprint, prompt))
        answers = self._ask(questions, refiner)
        for row in waiting:
            answer = answers[str(row.refine_fingerprint)]
            row.refined, row.error = answer["text"], answer["error"] and f"refinement failed: {answer['error']}"
            row.prompt_tokens = _total((row.prompt_tokens, answer["prompt_tokens"]))
            row.completion_tokens = _total((row.completion_tokens, answer["completion_tokens"]))

    def _ask(self, questions: Sequence[CaptionRequest], captioner: Captioner) -> dict[str, Mapping[str, Any]]:
        """An answer per question, from the journal or the backend."""
        kept = self.journal.items if self.journal is not None else {}
        answers: dict[str, Mapping[str, Any]] = {q.key: kept[q.key] for q in questions if q.key in kept}
        self.resumed += len(answers)
        new = [q for q in questions if q.key not in kept]
        if not new:
            return answers
        open_keys = {q.key for q in new}
        self.requests += len(new)
        for answer in told(captioner.answer(new), len(new), "questions"):
            if answer.key not in open_keys:
                raise RuntimeError(f"{captioner.identity} answered a question that was not asked, or answered it twice")
            open_keys.remove(answer.key)
            answers[answer.key] = {**asdict(answer), "model": captioner.identity}
            self.prompt_tokens += answer.prompt_tokens or 0
            self.completion_tokens += answer.completion_tokens or 0
            if answer.error is None and self.journal is not None:
                self.journal.add(answer.key, answers[answer.key])
        for key in open_keys:
            answers[key] = {
                **asdict(CaptionAnswer(key, error="the backend gave no answer")),
                "model": captioner.identity,
            }
        return answers

    def stats(self, rows: Sequence[Mapping[str, Any]], seconds: float) -> CaptionStats:
        count = Counter(row["status"] for row in rows)
        counted = [row for row in rows if row["prompt_tokens"] is not None]
        per_clip = self._cost(
            sum(row["prompt_tokens"] for row in counted), sum(row["completion_tokens"] or 0 for row in counted)
        )
        if per_clip is not None:
            per_clip = per_clip / len(counted) if counted else None
        cost = self._cost(self.prompt_tokens, self.completion_tokens)
        return CaptionStats(
            len(rows), count["ok"], count["empty"], count["failed"], count["skipped"], self.requests, self.reused, self.resumed,
            self.prompt_tokens, self.completion_tokens, cost, per_clip, seconds,
        )  # fmt: skip

    def _cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        prices = self.params.price_per_mtok
        return None if prices is None else (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6


def _total(counts: Iterable[int | None]) -> int | None:
    """The sum of what is known; None if nothing is."""
    known = [c for c in counts if c is not None]
    return sum(known) if known else None


def _windows(
    clip: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], params: Captions
) -> list[list[Mapping[str, Any]]]:
    """The frames of each question about a clip: of the whole clip, or of equal windows no longer than `window_s`."""
    length = clip["end_ms"] - clip["start_ms"]
    count = max(1, ceil(length / (1000 * params.window_s))) if params.window_s else 1
    windows: list[list[Mapping[str, Any]]] = [[] for _ in range(count)]
    for frame in frames:
        at = int((frame["time_ms"] - clip["start_ms"]) * count / length) if length > 0 else 0
        windows[min(max(at, 0), count - 1)].append(frame)
    return [spread(window, params.frames) for window in windows if window]


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of `items`, evenly spread, in order."""
    if len(items) <= count:
        return list(items)
    return [items[int((i + 0.5) * len(items) / count)] for i in range(count)]


def _read_frames(storage: Storage, frames: Sequence[Mapping[str, Any]]) -> list[bytes]:
    pictures = []
    for frame in frames:
        data = storage.read_media(MediaRef(frame["tar"], frame["offset"], frame["size"]))
        if frame["sha256"] and hashlib.sha256(data).hexdigest() != frame["sha256"]:
            raise ValueError(
                f"{frame['tar']}[{frame['offset']}:+{frame['size']}] is not the picture that was written there"
            )
        pictures.append(data)
    return pictures


class _SourceTexts:
    """What the source says of a clip: a caption of its span; else, unless there are captions for other spans, the video's caption, its title
    in the source, or that on the page."""

    def __init__(self, metadata: pa.Table, raw: pa.Table, several: str) -> None:
        self._several = several
        self._titles = dict(zip(raw["video_id"].to_pylist(), raw["title"].to_pylist(), strict=True))
        names = [n for n in ("video_id", "caption", "captions", "title", "spans") if n in metadata.column_names]
        self._videos = {row["video_id"]: row for row in metadata.select(names).to_pylist()}

    def of(self, clip: Mapping[str, Any]) -> str | None:
        video = self._videos.get(clip["video_id"], {})
        found = source_captions(clip, video)
        if found:
            return _chosen(found, self._several)
        if span_of(clip, video.get("spans")) is not None and any(s.get("caption") for s in video["spans"]):
            return None
        return video.get("title") or self._titles.get(clip["video_id"]) or None


def _chosen(captions: Sequence[str], several: str) -> str:
    """What becomes of several captions of one span."""
    if several == "join":
        return "\n\n".join(captions)
    return max(captions, key=len) if several == "longest" else captions[0]


def _cues(raw: pa.Table, languages: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """The cues of each video's best subtitle track: preferred languages first, then those made by people, then the source's order."""
    chosen = {}
    for row in raw.select(["video_id", "subtitles"]).to_pylist():
        tracks = row["subtitles"] or []
        if tracks:
            best = min(range(len(tracks)), key=lambda i: (*_preference(tracks[i], languages), i))
            chosen[row["video_id"]] = tracks[best]["cues"] or []
    return chosen


def _preference(track: Mapping[str, Any], languages: Sequence[str]) -> tuple[int, bool]:
    """Rank of the first language of which the track's is the same or a variant, then of another variant; made by people or not."""
    spoken = (track["language"] or "").lower()
    wanted = [language.lower() for language in languages]
    same = [spoken == w or spoken.startswith(f"{w}-") for w in wanted]
    related = [spoken.split("-")[0] == w.split("-")[0] for w in wanted]
    return [*same, *related, True].index(True), bool(track["automatic"])


def clip_subtitles(clip: Mapping[str, Any], cues: Sequence[Mapping[str, Any]]) -> str:
    """What is said in a clip: the text of its own cue where the clip was made from one, else of the cues that overlap it.

    A cue that shares less than `MIN_OVERLAP_MS` with the clip, and less than half of the shorter of the two, belongs to the neighbour.
    """
    if clip.get("origin") == "subtitles" and clip.get("text"):
        return str(clip["text"])
    said: list[str] = []
    for cue in cues:
        shared = min(cue["end_ms"], clip["end_ms"]) - max(cue["start_ms"], clip["start_ms"])
        shorter = min(cue["end_ms"] - cue["start_ms"], clip["end_ms"] - clip["start_ms"])
        text = " ".join((cue["text"] or "").split())
        if shared > 0 and shared >= min(MIN_OVERLAP_MS, shorter / 2) and text:
            said.append(text)
    return " ".join(said)


def _finish(row: _Row, params: Captions, scores: Mapping[str, float | None]) -> dict[str, Any]:
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
