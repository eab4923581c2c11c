"""How healthy a set of captions is: what is missing, refused, said thousands of times or said with doubt, how long it is, in which languages, and how well it
fits the pictures; and two sets of captions of the same clips against each other.

What belongs here: counting. What does not: which phrases are told by (`model_phrases.py`), taking
such things out of captions (`removals.py`, `cleaning.py`), which rules may drop (`match`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.captions.model_phrases import END, WORD, doubts, refuses
from curation_resources.embedded_database import embedded_database
from curation_resources.tables import MissingTable, TableStore

SHOWN = 5
"""Examples and repeated texts that are kept."""


@dataclass
class CaptionHealth:
    """What a set of captions is like.

    Attributes:
        status: outcome -> clips: ok, empty, failed, skipped (not asked, since they do not pass `where`).
        refusals, doubtful, unfinished: captions that refuse, that doubt, that end without the end of a sentence.
        languages: code -> captions.
        words: number of words -> captions; of Chinese and Japanese, letters.
        repeated: captions whose very text another clip has too; `texts` are the most frequent, with how many have each.
        match: mean of the match between caption and pictures, over `matched` clips; None where nothing was scored.
        examples: `refusal`, `doubt` or `unfinished` -> some (clip, caption).
    """

    status: Counter[str] = field(default_factory=Counter)
    refusals: int = 0
    doubtful: int = 0
    unfinished: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    words: Counter[int] = field(default_factory=Counter)
    repeated: int = 0
    texts: Sequence[tuple[str, int]] = ()
    match: float | None = None
    matched: int = 0
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @property
    def captions(self) -> int:
        return self.status["ok"]

    def length(self, share: float) -> int:
        """Words that so great a share of the captions has at most; 0 without captions."""
        left = share * sum(self.words.values())
        for count in sorted(self.words):
            left -= self.words[count]
            if left <= 0:
                return count
        return max(self.words, default=0)

    def add(self, rows: pa.Table) -> None:
        """Counts rows of `captions`, with `clip_id`, `caption`, `language` and `status`."""
        self.status.update(rows["status"].to_pylist())
        for row in rows.filter(pc.equal(rows["status"], "ok")).to_pylist():
            text = row["caption"] or ""
            self.languages[row["language"] or "unknown"] += 1
            self.words[len(WORD.findall(text))] += 1
            for name, holds in (
                ("refusal", refuses(text, row["language"])),
                ("doubt", doubts(text, row["language"])),
                ("unfinished", not END.search(text)),
            ):
                if holds:
                    kept = self.examples.setdefault(name, [])
                    if len(kept) < SHOWN:
                        kept.append((row["clip_id"], text))
                    if name == "refusal":
                        self.refusals += 1
                    elif name == "doubt":
                        self.doubtful += 1
                    else:
                        self.unfinished += 1


@dataclass(frozen=True)
class CaptionContest:
    """Two sets of captions, over the clips that have one in both.

    Attributes:
        both, only_a, only_b: clips with a caption in both, in one alone.
        same: clips with the same text.
        overlap: mean share of the words of two captions that they have in common (Jaccard).
        words: mean words of both.
        match: mean match of both, over `matched` clips that were scored in both; `better` of them match better in the second. None where nothing was.
    """

    both: int
    only_a: int
    only_b: int
    same: int
    overlap: float
    words: tuple[float, float]
    match: tuple[float, float] | None
    matched: int
    better: int


def health(store: TableStore, dataset: str) -> CaptionHealth | None:
    """The health of a dataset's captions; None where there are none."""
    found = CaptionHealth()
    shards = _shards(store, "captions", dataset)
    if not shards:
        return None
    for shard in shards:
        found.add(store.read("captions", shard, ["clip_id", "caption", "language", "status"]))
    found.repeated, found.texts = _repeats(store, shards)
    total = 0.0
    for _, match in _matches(store, dataset):
        total, found.matched = total + match, found.matched + 1
    found.match = total / found.matched if found.matched else None
    return found


def captions_of(store: TableStore, dataset: str) -> dict[str, str]:
    """clip -> caption of a dataset."""
    found: dict[str, str] = {}
    for shard in _shards(store, "captions", dataset):
        rows = store.read("captions", shard, ["clip_id", "caption", "status"])
        rows = rows.filter(pc.equal(rows["status"], "ok"))
        found.update(zip(rows["clip_id"].to_pylist(), rows["caption"].to_pylist(), strict=True))
    return found


def frozen(captions: Mapping[str, str], count: int) -> dict[str, str]:
    """So many of the captions, told by a hash of their clips: the same ones of the same clips whatever is said of them, to be kept as what others are held against."""
    order = sorted(captions, key=lambda clip: md5(clip.encode(), usedforsecurity=False).digest())
    return {clip: captions[clip] for clip in sorted(order[:count])}


def contest(
    a: Mapping[str, str], b: Mapping[str, str], matches: tuple[Mapping[str, float], Mapping[str, float]]
) -> CaptionContest:
    """Two sets of captions against each other.

    Args:
        a, b: clip -> caption.
        matches: clip -> match of each.
    """
    both = sorted(a.keys() & b.keys())
    same, overlap, words = 0, 0.0, [0, 0]
    for clip in both:
        one, other = (WORD.findall(text.casefold()) for text in (a[clip], b[clip]))
        same += a[clip] == b[clip]
        union = set(one) | set(other)
        overlap += len(set(one) & set(other)) / len(union) if union else 1.0
        words[0], words[1] = words[0] + len(one), words[1] + len(other)
    scored = [clip for clip in both if clip in matches[0] and clip in matches[1]]
    means = tuple(sum(m[clip] for clip in scored) / len(scored) for m in matches) if scored else None
    return CaptionContest(
        len(both),
        len(a.keys() - b.keys()),
        len(b.keys() - a.keys()),
        same,
        overlap / len(both) if both else 0.0,
        (words[0] / len(both), words[1] / len(both)) if both else (0.0, 0.0),
        (means[0], means[1]) if means else None,
        len(scored),
        sum(matches[1][clip] > matches[0][clip] for clip in scored),
    )


def matches_of(store: TableStore, dataset: str) -> dict[str, float]:
    """clip -> match of its caption with its pictures; empty where nothing was scored."""
    return dict(_matches(store, dataset))


def _shards(store: TableStore, asset: str, dataset: str) -> list[str]:
    return [s for s in store.partitions(asset) if s.rpartition("-")[0] == dataset]


def _matches(store: TableStore, dataset: str) -> Iterator[tuple[str, float]]:
    for shard in _shards(store, "caption_scores", dataset):
        try:
            rows = store.read("caption_scores", shard, ["clip_id", "match"])
        except MissingTable:
            continue
        rows = rows.filter(pc.is_valid(rows["match"]))
        yield from zip(rows["clip_id"].to_pylist(), rows["match"].to_pylist(), strict=True)


def _repeats(store: TableStore, shards: Sequence[str]) -> tuple[int, Sequence[tuple[str, int]]]:
    """Captions whose text more than one clip has, and the most frequent texts; counted by a database that goes to disk."""
    with embedded_database() as database:
        rows = store.dataset("captions", shards)  # noqa: F841 - named in the queries
        database.execute(
            "CREATE TEMP TABLE texts AS SELECT caption, count(*) AS n FROM rows WHERE status = 'ok' AND caption IS NOT NULL GROUP BY caption HAVING count(*) > 1"
        )
        (count,) = database.execute("SELECT coalesce(sum(n), 0)::BIGINT FROM texts").fetchall()[0]
        most: list[tuple[Any, ...]] = database.execute(
            f"SELECT caption, n FROM texts ORDER BY n DESC, caption LIMIT {SHOWN}"
        ).fetchall()
    return int(count), [(str(text), int(n)) for text, n in most]
