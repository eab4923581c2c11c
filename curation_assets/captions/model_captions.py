"""Captions by a model: the questions about each clip's frames, which answers are taken over, and which are asked for.

A row is reused while its `row_fingerprint` holds, so the expensive step runs only for clips whose frames, prompt or model changed. Answers go to a
journal as they come, so a killed run asks nothing twice.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from curation_assets.captions.caption_backends import caption_identity
from curation_assets.scores.stored_frames import picture_of, read_stored
from curation_resources.captioners.base import CaptionAnswer, Captioner, CaptionRequest
from curation_resources.faults import Fault
from curation_resources.progress import told
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError

if TYPE_CHECKING:
    from curation_assets.captions.captions import Captions, TextModel
    from curation_resources.journal import Journal


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
class CaptionDraft:
    """A clip on its way to a row of `captions`.

    Attributes:
        clip: its row of `clips`.
        fingerprint, refine_fingerprint: of what decides its caption, and the refined one.
        keys: of the questions about it.
        raw, cleaned, refined: its text as it came, cleaned, and as the text model made it.
        error: why it has none.
        skipped: whether it was not to be captioned.
        model, prompt_tokens, completion_tokens: what answered, and what that took; None if that is not known.
    """

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


def digest_of(value: Any) -> str:
    """32 hexadecimal digits over a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


class ModelCaptions:
    """Questions and answers of one call of `caption_shard`.

    Args:
        params: the recipe's `captions` section.
        storage: where the tars of frames lie.
        journal: answers of an interrupted run, and where this run's go.
        previous: clip_id -> row of the table in force.
    """

    def __init__(
        self,
        params: Captions,
        storage: Storage,
        journal: Journal | None,
        previous: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.params, self.storage, self.journal, self.previous = params, storage, journal, previous
        self.requests = self.reused = self.resumed = self.prompt_tokens = self.completion_tokens = 0

    def questions(
        self, rows: Iterable[CaptionDraft], frames: pa.Table
    ) -> tuple[list[CaptionRequest], list[CaptionDraft]]:
        """What is to be asked about the frames of the rows, and of which rows; the others get what is known, or why nothing can be."""
        by_clip: dict[str, list[dict[str, Any]]] = defaultdict(list)
        columns = ["clip_id", "time_ms", "tar", "offset", "size", "sha256"]
        for frame in frames.select(columns).sort_by([("clip_id", "ascending"), ("time_ms", "ascending")]).to_pylist():
            by_clip[frame["clip_id"]].append(frame)
        identity = caption_identity(self.params)
        questions: list[CaptionRequest] = []
        waiting: list[CaptionDraft] = []
        for row in rows:
            windows = _windows(row.clip, by_clip.get(row.clip["clip_id"], []), self.params)
            if not windows:
                row.error = "clip has no frames to look at; materialize frames again"
                continue
            row.keys = [self._key(row.clip["clip_id"], i, window, identity) for i, window in enumerate(windows)]
            row.fingerprint = digest_of(row.keys)
            before = self.previous.get(row.clip["clip_id"], {})
            if before.get("row_fingerprint") == row.fingerprint and before.get("caption_raw") is not None:
                row.raw, row.model = before["caption_raw"], before["model"]
                row.prompt_tokens, row.completion_tokens = before.get("prompt_tokens"), before.get("completion_tokens")
                self.reused += 1
                continue
            waiting.append(row)
            for key, window in zip(row.keys, windows, strict=True):
                questions.append(CaptionRequest(key, self.params.prompt, partial(_read_frames, self.storage, window)))
        return questions, waiting

    def ask_about_frames(self, rows: Iterable[CaptionDraft], frames: pa.Table, captioner: Captioner) -> None:
        """Fills in `raw` or `error` of each row."""
        questions, waiting = self.questions(rows, frames)
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
        asked = [clip_id, window, pictures, p.prompt, identity, p.max_tokens, p.temperature, p.seed, p.dtype]
        return digest_of([*asked, p.engine] if p.engine else asked)

    def refine(self, rows: Iterable[CaptionDraft], refine: TextModel, refiner: Captioner) -> None:
        """Fills in `refined` of each row, or its error."""
        questions: list[CaptionRequest] = []
        waiting: list[CaptionDraft] = []
        for row in rows:
            prompt = refine.prompt.replace("{caption}", row.cleaned)
            row.refine_fingerprint = digest_of(
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
        """What was done for the finished `rows` of the table, in `seconds` of wall time."""
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
    found = dict(read_stored(storage, [picture_of(frame) for frame in frames]))
    for data in found.values():
        if isinstance(data, Fault):
            raise StorageError(data.reason)
    return [bytes(cast(memoryview, found[i])) for i in range(len(frames))]
