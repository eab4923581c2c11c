"""What tables say of the samples of a version in force: which of its tars hold those of some videos, and what all that stay come to.

Which tar a sample lies in is told by the table of the version, so only tars that it names for the videos are opened, and those for which its word is not enough: a tar that the table does not
name, or whose size is not that which was published. Versions without a table, older ones, are looked through tar by tar.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.writing.dataset_card import CardFacts
from curation_assets.recipes import Recipe
from curation_assets.registry import DOWNLOADS
from curation_assets.takedown.large_tables import rows_of
from curation_assets.takedown.plan import TakedownPlan
from curation_resources.growing_array import GrowingArray
from curation_resources.listed_files import sizes_in
from curation_resources.storage import Storage
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore

COUNTED = ("dataset", "video_id", "status", "split", "start_ms", "end_ms")


class VideoLicences:
    """Licence and channel of each video, sixteen bytes each and the words themselves once.

    Args:
        store: the tables of downloads.
    """

    def __init__(self, store: TableStore) -> None:
        videos, codes, self._words = GrowingArray(np.int64), GrowingArray(np.int32), dict[str | None, int]()
        for shard in store.partitions(DOWNLOADS):
            table = store.read(DOWNLOADS, shard, columns=["dataset", "video_id", "licence", "channel"])
            rows = table.to_pylist()
            videos.add(np.array([hash((r["dataset"], r["video_id"])) for r in rows], np.int64))
            codes.add(np.array([self._code(r[n]) for r in rows for n in ("licence", "channel")], np.int32))
        order = np.argsort(videos.whole(), kind="stable")
        self._videos, self._codes = videos.whole()[order], codes.whole().reshape(-1, 2)[order]
        self._names = [*self._words]

    def _code(self, word: str | None) -> int:
        return self._words.setdefault(word, len(self._words))

    def get(self, video: tuple[str, str], default: tuple[str | None, str | None]) -> tuple[str | None, str | None]:
        """Licence and channel of (dataset, video_id)."""
        at = int(np.searchsorted(self._videos, hash(video)))
        if at == len(self._videos) or self._videos[at] != hash(video):
            return default
        licence, channel = self._codes[at].tolist()
        return self._names[licence], self._names[channel]


class ToldSamples:
    """The samples of the version that a table is of.

    Args:
        store, recipes: what the takedown has.
        plan: whose videos go.
        header: of the table, which still has their rows.
        licences: of all videos.
    """

    def __init__(
        self,
        store: TableStore,
        recipes: Mapping[str, Recipe],
        plan: TakedownPlan,
        header: TableHeader,
        licences: Any,
    ) -> None:
        self._store, self._plan, self._header, self._licences = store, plan, header, licences
        self.folder = f"{store.folder(header.asset, header.partition)}/{header.stats.get('version')}"
        worded = any(r.source.may_word_spans for r in recipes.values()) or not recipes
        form = set(store.form(header.asset, header.partition).names)
        fresh = (header.asset, header.partition) in plan.fresh
        self.counts = fresh and not worded and set(COUNTED) <= form
        """Whether the tables that there are say what the samples' own JSON says: the version is made of them as they are, and licences are those of videos."""

    @cached_property
    def tars(self) -> frozenset[str]:
        """Names of the tars that are to be opened: those that hold a sample of the videos, and those of which the table cannot tell."""
        places = ["tar", "audio_tar"]
        theirs = rows_of(self._store, self._plan.of, self._header.asset, self._header.partition, places)
        hold = {t for n in places if n in theirs.column_names for t in theirs[n].drop_null().unique().to_pylist()}
        named = {tar for part in self._store.media_parts(self._header) for tar in part}
        published = _published_sizes(self._store.storage, self.folder)
        return frozenset(
            name
            for name, size in sizes_in(self._store.storage, self.folder)
            if name.endswith(".tar")
            and ((path := f"{self.folder}/{name}") in hold or path not in named or published.get(name) != size)
        )

    def facts(self) -> CardFacts:
        """What the samples that stay come to."""
        facts = CardFacts("", "", "", "", {}, "", ())
        licences = self._licences()
        for rows in self._store.groups(self._header.asset, COUNTED, self._header.partition):
            stay = pc.and_(pc.invert(self._plan.of(rows)), pc.equal(rows["status"], "ok"))
            left = rows.filter(stay)
            length = pc.subtract(left["end_ms"], left["start_ms"])
            by_video = pa.table([left["dataset"], left["video_id"], left["split"], length], ["d", "v", "s", "ms"])
            for one in by_video.group_by(["d", "v", "s"]).aggregate([("ms", "sum"), ("ms", "count")]).to_pylist():
                facts.count(one["s"], one["ms_sum"], *licences.get((one["d"], one["v"]), (None, None)))
                facts.samples[one["s"]] += one["ms_count"] - 1
        return facts


def _published_sizes(storage: Storage, folder: str) -> dict[str, int]:
    """File -> bytes, as the version's croissant.json has them; empty without one."""
    path = f"{folder}/croissant.json"
    if not storage.exists(path):
        return {}
    entries = json.loads(storage.read(path)).get("distribution", ())
    sizes = {e.get("contentUrl"): str(e.get("contentSize", "")).partition(" ")[0] for e in entries}
    return {name: int(size) for name, size in sizes.items() if name and size.isdigit()}
