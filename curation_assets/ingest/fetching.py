"""raw_shards: from the videos of a shard to their bytes in storage, with a ledger of how each one went.

What belongs here: which rows are kept, adopted, referenced or fetched, and what a row says. What does not: how one URL is fetched
(`curation_resources.downloader`), what makes a file a video (`curation_resources.probe`), and the commit of the table.

A run that is killed loses little: every tar that it finished has a ledger beside it, `<token>-<nnnnn>.rows.parquet`, with its rows.
The next run takes them over. Once the table is committed, tars and ledgers that it does not name are the caller's to remove.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from curation_assets.contracts.door import brought, named
from curation_assets.ingest.error_classes import REFUSED_BY_PROBE, TRANSIENT_ERRORS
from curation_assets.ingest.fetch_urls import MissingSecret, fetch_url
from curation_assets.ingest.forgotten import Forgotten
from curation_assets.ingest.raw_shards import Download
from curation_assets.ingest.subtitles import parse_subtitles
from curation_assets.ingest.text_encodings import EncodingError, text_of
from curation_assets.schemas import schema
from curation_resources import sealed_parquet
from curation_resources.download_errors import DownloadError
from curation_resources.downloader import Downloader, DownloadOptions, local_path, run_bounded
from curation_resources.faults import fault_of, stop_if_full
from curation_resources.probe import VERSION as PROBE_VERSION
from curation_resources.probe import Probe, probe
from curation_resources.scratch import scratch_root
from curation_resources.storage import MediaRef, RangeReader, Storage, StorageError
from curation_resources.tables import canonical_json
from curation_resources.tars import TarWriter, new_token, sample_key
from curation_resources.unwritable import Unwritable, full_folder, has_room
from curation_resources.urls import STORAGE_SCHEMES, host_of, redact, redact_text, scheme_of
from curation_resources.video_info import clean_info

CODE_VERSION = "1"
CHECKPOINT_S = 600.0
"""A tar is closed and its rows are written down at least this often, seconds."""
THUMBNAILS = 24
SIDECAR_BYTES = 4 << 20
PROBE_BLOCK = 1 << 20
"""Bytes that are fetched at once when a remote medium is looked into."""
LEDGER_SUFFIX = ".rows.parquet"
TARS_KEY = b"curation.tars"

Row = dict[str, Any]
DOWNLOADERS = "downloaders"
"""Kind of entry points by which installed packages bring ways to fetch, as `downloader.OtherDownloader` has them."""


@dataclass(frozen=True)
class Progress:
    """How far a shard is: rows done of total, rows ok and failed, bytes of media written in this run."""

    done: int
    total: int
    ok: int
    failed: int
    bytes: int


@dataclass(frozen=True)
class RawStats:
    """What a run did for a shard.

    Attributes:
        by_class: number of rows by error class; `ok` for those without.
        kept: rows taken over from the table in force.
        adopted: rows taken over from a run that was killed.
        fetched: rows that were downloaded, copied or looked into now.
        bytes: bytes of all ok media; `fetched_bytes` of those written now.
        video_s: seconds of video of all ok rows.
        seconds: wall time of the run.
    """

    rows: int
    ok: int
    failed: int
    rejected: int
    by_class: Mapping[str, int]
    kept: int
    adopted: int
    fetched: int
    bytes: int
    fetched_bytes: int
    video_s: float
    seconds: float


@dataclass(frozen=True)
class RawShard:
    """A shard that is ready to be committed.

    Attributes:
        table: fits `schema("raw_shards")`.
        tars: the own tars that the table names.
        stats: counts.
        thumbnails: (video_id, small JPEG) of the first ok videos.
    """

    table: pa.Table
    tars: tuple[str, ...]
    stats: RawStats
    thumbnails: tuple[tuple[str, bytes], ...] = field(repr=False, default=())


@dataclass(frozen=True)
class _Job:
    """A row to be made: its metadata, the full URL, what was asked for, and the reference if the video lies in storage already."""

    metadata: Row
    url: str = field(repr=False)
    extra: Mapping[str, Any]
    fingerprint: str
    refusal_fingerprint: str
    reference: MediaRef | None
    previous: Row | None

    @property
    def video_id(self) -> str:
        return str(self.metadata["video_id"])

    @property
    def listed_only(self) -> bool:
        """Whether a list names the file, which nobody has seen; those of folders and tars were there when they were indexed."""
        return not self.extra.get("media") and scheme_of(self.url) in STORAGE_SCHEMES


@dataclass(frozen=True)
class _Done:
    """A row and, if its bytes go into a tar, the scratch file that holds them."""

    row: Row
    media: Path | None = None
    extension: str = ""
    kept: bool = False


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


def _section(metadata: Row, options: Download) -> tuple[float, float] | None:
    """Start and end in seconds of the part that the given spans need, if only that is to be fetched; None where no span can be cut."""
    spans = metadata.get("spans") or []
    if not options.sections_only or not spans:
        return None
    start, end = max(0, min(s["start_ms"] for s in spans)), max(s["end_ms"] for s in spans)
    return (start / 1000, end / 1000) if end > start else None


def _fingerprints(metadata: Row, url: str, reference: MediaRef | None, options: Download) -> tuple[str, str]:
    """(of what was asked for, of what was asked for and how): a failure is asked again also when the way has changed.

    Signatures and tokens of a URL are part of the second only, so that a list that is signed anew does not fetch everything anew.
    """
    asked: dict[str, Any] = {"version": CODE_VERSION, "url": redact(str(metadata["url"] or ""))}
    if reference is not None:
        asked |= {"tar": redact(reference.tar), "offset": reference.offset, "store": options.store}
        asked["etag"] = (
            reference.etag if options.store == "copy" else None
        )  # references are compared with what is there now
    else:
        asked |= options.model_dump(include={"height", "audio", "info"}) | {"section": _section(metadata, options)}
        asked["subtitles"] = options.subtitles.model_dump() if options.subtitles else None
    way = options.model_dump(include={"max_bytes", "proxy", "cookies", "player_client"})
    if options.allow_private is False:
        way["allow_private"] = False
    etag = reference.etag if reference is not None else None
    return _digest(asked), _digest([asked, way, url, etag, _ytdlp_version()])


def _refusal(fingerprint: str, error_class: str | None) -> str:
    """What a failure of a class is remembered by, given the second of `_fingerprints`: media that were looked into are looked into once
    more by a `probe` that reads more than the one that refused them."""
    return _digest([fingerprint, PROBE_VERSION]) if error_class in REFUSED_BY_PROBE else fingerprint


@lru_cache(maxsize=1)
def _ytdlp_version() -> str:
    """Part of what a failure is remembered by: a newer extractor may read what this one could not."""
    return version("yt-dlp")


def _reference(metadata: Row, extra: Mapping[str, Any], allow_local: bool, local_lists: bool) -> MediaRef | None:
    """Where the video lies in storage, if it does.

    References in `extra` count only if the source is one of files, a local path only if that or a list that lies here itself names it.
    """
    media = extra.get("media")
    if allow_local and isinstance(media, Mapping) and media.get("tar"):
        return MediaRef(str(media["tar"]), media.get("offset"), media.get("size"), media.get("etag"))
    url = str(metadata["url"] or "")
    if scheme_of(url) in STORAGE_SCHEMES:
        return MediaRef(url)
    named_here = local_lists and os.path.isabs(url) and "://" not in str(metadata.get("source") or "://")
    path = local_path(url) if allow_local or named_here else None
    return MediaRef(str(Path(path).expanduser().absolute())) if path else None


def _blank(metadata: Row, fingerprint: str | None) -> Row:
    """A row with what the source says."""
    return {
        **dict.fromkeys(schema("raw_shards").names),
        "dataset": metadata["dataset"],
        "video_id": metadata["video_id"],
        "url": redact(metadata["url"]) if metadata["url"] else None,
        "title": metadata["title"],
        "licence": metadata["licence"],
        "attempts": 0,
        "row_fingerprint": fingerprint,
    }


def _rejected(metadata: Row) -> Row:
    """The row of a source line that cannot be used."""
    removed = metadata["status"] == "removed"
    reason = metadata["error"] or ("the source no longer lists it" if removed else "the source's line cannot be used")
    error_class = "removed" if removed else "rejected"
    return {**_blank(metadata, None), "status": "rejected", "error_class": error_class, "error": redact_text(reason)}


def _taken_down(metadata: Row, why: str) -> Row:
    """The row of a video that tombstones refuse: that there is such a line in the source, and nothing of what it says."""
    said = {"title": None, "licence": None, "status": "rejected", "error_class": "removed"}
    return {**_blank(metadata, None), **said, "error": why}


def _failed(job: _Job, error: DownloadError) -> Row:
    before = job.previous["attempts"] or 0 if job.previous else 0
    return {
        **_blank(job.metadata, _refusal(job.refusal_fingerprint, error.error_class)),
        "status": "failed",
        "error_class": error.error_class,
        "error": error.message,
        "attempts": before + error.attempts,
    }


def _without_secret(metadata: Row, error: MissingSecret) -> Row:
    """The row of a video whose URL cannot be fetched because its secret part is not at hand; it is tried again once it is."""
    return {**_blank(metadata, None), "status": "failed", "error_class": "storage", "error": str(error)}


def _probed(found: Probe) -> Row:
    return {k: v for k, v in dataclasses.asdict(found).items() if k not in ("thumbnail", "extension")}


def _described(info: Mapping[str, Any], metadata: Row, keep_info: bool) -> Row:
    """The columns that an extractor's or a sidecar's information gives."""
    nested = info.get("yt_meta_dict")
    inner = nested.get("info") if isinstance(nested, Mapping) else None
    said = {**(inner if isinstance(inner, Mapping) else {}), **info}

    def text(*keys: str) -> str | None:
        return next((redact_text(str(said[k]), 1000) for k in keys if said.get(k)), None)

    day = str(said.get("upload_date") or "")
    return {
        "title": text("title") or metadata["title"],
        "channel": text("channel", "uploader", "creator"),
        "upload_date": f"{day[:4]}-{day[4:6]}-{day[6:8]}" if len(day) == 8 and day.isdigit() else None,
        "licence": text("license", "licence") or metadata["licence"],
        "info": canonical_json(clean_info(info)) if keep_info and info else None,
    }


def _track(language: str | None, automatic: bool, text: str, encoding: str | None = None) -> Row:
    return {
        "language": language,
        "automatic": automatic,
        "encoding": encoding,
        "cues": [dataclasses.asdict(c) for c in parse_subtitles(text)],
    }


class _Scratch:
    """A temporary folder, with one for each video below it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="raw-", dir=scratch_root()))

    def folder(self, video_id: str) -> Path:
        return self.path / sample_key(video_id)

    def clear(self, video_id: str) -> None:
        shutil.rmtree(self.folder(video_id), ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class _Maker:
    """Makes rows; its `make` runs in threads."""

    def __init__(
        self,
        options: Download,
        storage: Storage,
        downloader: Downloader,
        scratch: _Scratch,
        forgotten: Forgotten,
    ) -> None:
        self.options, self.storage, self.downloader, self.scratch = options, storage, downloader, scratch
        self.forgotten = forgotten
        self.thumbnails: dict[str, bytes] = {}
        self._etags: dict[str, str] = {}
        self._lock = threading.Lock()

    def make(self, job: _Job) -> _Done:
        """Makes the row of `job`; whatever goes wrong with this video is said in its row."""
        try:
            done = self._download(job) if job.reference is None else self._refer(job, job.reference)
            why = self._refused(done)
            if why is None:
                return done
            self.scratch.clear(job.video_id)
            self.thumbnails.pop(job.video_id, None)
            return _Done(_taken_down(job.metadata, why))
        except DownloadError as error:
            # What a site says is its own: only where no room is left it was ours.
            full = None if has_room(self.scratch.path) else full_folder(error.message)
            self.scratch.clear(job.video_id)
            if full is not None:
                raise full from error
            return _Done(_failed(job, error))
        except Exception as error:  # noqa: BLE001  # the row boundary: no medium may end the run of the others
            fault = fault_of(error)
            self.scratch.clear(job.video_id)
            stop_if_full([fault] if fault else [])
            if fault is None:
                return _Done(_failed(job, DownloadError("corrupt", f"{type(error).__name__}: {error}")))
            reason = error.strerror if isinstance(error, OSError) and error.strerror else fault.reason
            return _Done(_failed(job, DownloadError(fault.kind, reason)))

    def _refused(self, done: _Done) -> str | None:
        """Why a video that is at hand must not be kept; None if it may. What earlier runs kept stays until it is taken down itself."""
        if self.forgotten.channel(done.row["channel"]):
            return "its channel was taken down"
        if done.kept:
            return None
        row = done.row
        if not self.forgotten.of_size(done.media.stat().st_size if done.media else int(row["size"])):
            return None
        whole = MediaRef(row["tar"], row["offset"], row["size"])
        with open(done.media, "rb") if done.media else self.storage.open_media(whole) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        return "its bytes are those of a video that was taken down" if self.forgotten.same_bytes(sha256) else None

    def _download(self, job: _Job) -> _Done:
        if not job.url:
            raise DownloadError("unsupported", "the source gives no URL")
        got = self.downloader.fetch(job.url, self.scratch.folder(job.video_id), _section(job.metadata, self.options))
        try:
            found = self._look(job, got.path, thorough=True)
        except DownloadError as error:
            error.attempts = got.attempts
            raise
        tracks = [_track(s.language, s.automatic, s.text) for s in got.subtitles] if self.options.subtitles else None
        row = self._ok_row(job, found, got.info, tracks, got.attempts)
        row |= {"page_url": got.page_url, "section_start_ms": _to_ms(got.section_start_s)}
        return _Done(row, got.path, found.extension)

    def _refer(self, job: _Job, reference: MediaRef) -> _Done:
        """A video that lies in storage already: looked into where it stands, or copied if the recipe says so."""
        etag = self._etag(reference.tar, "gone" if job.listed_only else "storage")
        kept = job.previous
        if kept is not None and kept["status"] == "ok" and kept["etag"] == etag:
            return _Done(_refreshed(kept, job.metadata), kept=True)
        if reference.offset is not None and reference.etag not in (None, etag):
            raise DownloadError(
                "storage", f"{redact(reference.tar)} has changed since it was indexed; materialize dataset_index again"
            )
        size = self.storage.size(reference.tar) if reference.offset is None else reference.size
        if size is None:
            raise DownloadError(
                "storage", f"the reference into {redact(reference.tar)} has no size; materialize video_metadata again"
            )
        if size > self.options.max_bytes:
            raise DownloadError("too_large", f"the file has more than {self.options.max_bytes} bytes")
        here = MediaRef(reference.tar, reference.offset, size)
        info, tracks = self._sidecars(job.extra.get("sidecars"))
        if self.options.store == "copy":
            target = self.scratch.folder(job.video_id) / "media"
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._open(here) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file, 8 << 20)
            found = self._look(job, target, thorough=True)
            return _Done(
                self._ok_row(job, found, info, tracks, 1) | {"page_url": redact(reference.tar)}, target, found.extension
            )
        with self._open(here) as stream:
            found = self._look(job, stream, thorough=False)
        row = self._ok_row(job, found, info, tracks, 1)
        row |= {
            "tar": reference.tar,
            "offset": reference.offset,
            "size": size,
            "etag": etag,
            "page_url": redact(reference.tar),
        }
        return _Done(row)

    def _look(self, job: _Job, source: Path | BinaryIO, thorough: bool) -> Probe:
        found = probe(source, thorough=thorough, thumbnail=len(self.thumbnails) < 2 * THUMBNAILS)
        if found.thumbnail:
            self.thumbnails[job.video_id] = found.thumbnail
        return found

    def _ok_row(self, job: _Job, found: Probe, info: Mapping[str, Any], tracks: list[Row] | None, attempts: int) -> Row:
        before = job.previous["attempts"] or 0 if job.previous else 0
        return {
            **_blank(job.metadata, job.fingerprint),
            "status": "ok",
            "attempts": before + attempts,
            **_probed(found),
            **_described(info, job.metadata, self.options.info),
            "subtitles": tracks,
        }

    def _etag(self, tar: str, missing: str) -> str:
        """The file's tag. One that is not there is `missing`: of a file that was listed, the next listing says whether it is gone for good."""
        with self._lock:
            known = self._etags.get(tar)
        if known is None:
            try:
                known = self.storage.etag(tar)
            except FileNotFoundError as error:
                raise DownloadError(missing, f"there is no file {redact(tar)}") from error
            with self._lock:
                self._etags[tar] = known
        return known

    def _open(self, reference: MediaRef) -> BinaryIO:
        """The referenced bytes as a stream; of remote ones only the blocks that are read are fetched."""
        fs, name = self.storage.filesystem(reference.tar)
        if "file" in fs.protocol:
            return self.storage.open_media(reference)
        inner = cast(BinaryIO, fs.open(name, "rb", block_size=PROBE_BLOCK))
        return cast(
            BinaryIO, io.BufferedReader(RangeReader(inner, reference.offset or 0, reference.size or 0), PROBE_BLOCK)
        )

    def _sidecars(self, sidecars: Any) -> tuple[dict[str, Any], list[Row] | None]:
        """What the files beside a video say: information, and subtitle tracks."""
        info: dict[str, Any] = {}
        tracks: list[Row] = []
        for ending, said in sidecars.items() if isinstance(sidecars, Mapping) else ():
            language, _, kind = ending.rpartition(".")
            if kind not in ("json", "vtt", "srt") or (said.get("size") or 0) > SIDECAR_BYTES:
                continue
            data = self.storage.read_media(MediaRef(said["tar"], said.get("offset"), said.get("size")))
            name = said["tar"] if said.get("offset") is None else f"{said['tar']}, {ending} from byte {said['offset']}"
            try:
                found = text_of(data, redact(name))
            except EncodingError as error:
                raise DownloadError("corrupt", str(error)) from error
            if kind != "json":
                tracks.append(_track(language or None, False, found.text, found.assumed))
                continue
            with contextlib.suppress(ValueError, RecursionError):
                parsed = json.loads(found.text)
                info = parsed if isinstance(parsed, dict) and not language else info
        return info, tracks or None


def _to_ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _refreshed(row: Row, metadata: Row) -> Row:
    """A kept row with what the source says of it now, where no page says more."""
    info = json.loads(row["info"]) if row.get("info") else {}
    kept = {name: row.get(name) for name in schema("raw_shards").names}
    if not info.get("title") and metadata["title"]:
        kept["title"] = metadata["title"]
    if not (info.get("license") or info.get("licence")) and metadata["licence"]:
        kept["licence"] = metadata["licence"]
    return kept


def _is_kept(row: Row | None, fingerprint: str, refusal: str) -> bool:
    """Whether a row of an earlier run still answers what is asked: it is ok, or its failure is one that stays."""
    if row is None:
        return False
    if row["status"] == "ok":
        return bool(row["row_fingerprint"] == fingerprint)
    asked = _refusal(refusal, row["error_class"])
    return bool(row["row_fingerprint"] == asked) and row["error_class"] not in TRANSIENT_ERRORS


def _carried(row: Row | None, fingerprint: str, refusal: str) -> Row | None:
    """The earlier row if it is about the same request: its attempts count on, and its bytes may still be right."""
    if row is None or row["row_fingerprint"] not in (fingerprint, refusal, _refusal(refusal, row["error_class"])):
        return None
    return row


def _whole_tars(rows: Sequence[Row], storage: Storage, sizes: Mapping[str, int] | None = None) -> set[str]:
    """Of the tars that `rows` lie in, those that are there and as long as they have to be."""
    ends: Counter[str] = Counter()
    for row in rows:
        if row["status"] == "ok" and row["tar"] and row["etag"] is None:
            ends[row["tar"]] = max(ends[row["tar"]], (row["offset"] or 0) + (row["size"] or 0))
    whole = set()
    for tar, end in ends.items():
        with contextlib.suppress(FileNotFoundError):
            size = storage.size(tar)
            if size >= end and (sizes is None or sizes.get(tar) == size):
                whole.add(tar)
    return whole


def _usable(rows: Sequence[Row], storage: Storage, sizes: Mapping[str, int] | None = None) -> dict[str, Row]:
    """Rows by video_id, without those whose bytes are no longer there."""
    whole = _whole_tars(rows, storage, sizes)
    return {r["video_id"]: r for r in rows if r["status"] != "ok" or r["etag"] is not None or r["tar"] in whole}


def _ledgers(storage: Storage, folder: str) -> dict[str, Row]:
    """Rows that runs which did not come to their end have written down, by video_id."""
    found: dict[str, Row] = {}
    for name in storage.list(folder):
        if name.endswith(LEDGER_SUFFIX):
            try:
                table = sealed_parquet.read_bytes(storage.read(f"{folder}/{name}"))
                sizes = json.loads((table.schema.metadata or {}).get(TARS_KEY, b"{}"))
            except ValueError:
                continue  # not one of ours, or damaged: its videos are fetched again
            found |= _usable(table.to_pylist(), storage, sizes)
    return found


def _adoptable(rows: Mapping[str, Row], forgotten: Forgotten) -> dict[str, Row]:
    """Rows of killed runs without those that were taken down since, or may have been: they are made again, and refused."""

    def may_be(row: Row) -> bool:
        return (
            row["size"] is not None
            and forgotten.of_size(row["size"])
            and (row["sha256"] is None or forgotten.same_bytes(row["sha256"]))
        )

    return {v: r for v, r in rows.items() if not may_be(r)}


class _Book:
    """Puts finished rows into tars and, each time a tar is closed, writes down what is in it."""

    def __init__(self, storage: Storage, folder: str, tar_bytes: int, checkpoint_s: float) -> None:
        self.storage, self.folder, self.checkpoint_s = storage, folder, checkpoint_s
        self.writer = TarWriter(storage, folder, new_token(), tar_bytes)
        self.bytes = 0
        self._pending: list[Row] = []
        self._checkpoints = 0
        self._last = time.monotonic()

    def add(self, done: _Done, metadata: Row) -> Row:
        """The finished row; its media are in a tar now."""
        row = done.row
        if done.media is not None:
            row = row | self._store(done.media, done.extension, row, metadata)
        if not done.kept:
            self._pending.append(row)
        rolled = done.media is not None and self.writer.bytes_in_tar == 0
        if rolled or time.monotonic() - self._last >= self.checkpoint_s:
            self.checkpoint()
        return row

    def _store(self, media: Path, extension: str, row: Row, metadata: Row) -> Row:
        """Writes a sample as video2dataset does (video, json, txt) and says where the video lies."""
        said = {
            k: row[k]
            for k in ("video_id", "url", "page_url", "title", "channel", "upload_date", "licence", "subtitles")
        }
        said |= {
            "caption": metadata["caption"],
            "spans": metadata["spans"],
            "info": json.loads(row["info"]) if row["info"] else None,
        }
        text = metadata["caption"] or row["title"]
        with open(media, "rb") as stream:
            members: dict[str, bytes | BinaryIO] = {extension: stream, "json": canonical_json(said).encode()}
            if text:
                members["txt"] = text.encode("utf-8", "replace")
            written = self.writer.add(sample_key(row["video_id"]), members)[extension]
        self.bytes += written.size
        return dataclasses.asdict(written)

    def checkpoint(self) -> None:
        """Closes the open tar and writes down the rows since the last time."""
        self.writer.roll()
        self._last = time.monotonic()
        if not self._pending:
            return
        tars = {r["tar"] for r in self._pending if r["tar"] in self.writer.tars}
        sizes = {tar: self.storage.size(tar) for tar in tars}
        table = _table(self._pending).replace_schema_metadata({TARS_KEY: json.dumps(sizes).encode()})
        with self.storage.publish(f"{self.folder}/{self.writer.token}-{self._checkpoints:05d}{LEDGER_SUFFIX}") as file:
            sealed_parquet.write_table(table, file)
        self._checkpoints += 1
        self._pending = []


def _table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(sorted(rows, key=lambda r: r["video_id"]), schema=schema("raw_shards").arrow)


def _download_options(options: Download) -> DownloadOptions:
    shared = {f.name for f in dataclasses.fields(DownloadOptions)} & set(Download.model_fields)
    values = {name: getattr(options, name) for name in shared} | {"allow_private": options.allow_private is not False}
    if options.subtitles:
        values |= {
            "subtitle_languages": tuple(options.subtitles.languages),
            "automatic_subtitles": options.subtitles.automatic,
        }
    return DownloadOptions(**values | {"player_client": tuple(options.player_client)})


def _host(job: _Job) -> str | None:
    """What a job's concurrency is bounded by: its host; None for storage."""
    return None if job.reference is not None else host_of(job.url)


def _plan(
    rows: Sequence[Row],
    options: Download,
    allow_local: bool,
    local_lists: bool,
    earlier: Mapping[str, Row],
    adopted: Mapping[str, Row],
    urls: Mapping[str, str],
) -> Iterator[tuple[Row | None, _Job | None, bool]]:
    """For each metadata row: (the finished row, None, whether it was adopted) or (None, the job that makes it, False)."""
    for metadata in rows:
        if metadata["status"] != "ok":
            yield _rejected(metadata), None, False
            continue
        try:
            extra = json.loads(metadata["extra"] or "{}")
        except ValueError:
            extra = {}
        extra = extra if isinstance(extra, dict) else {}
        reference = _reference(metadata, extra, allow_local, local_lists)
        url = str(metadata["url"] or "")
        missing = None
        if reference is None:
            try:
                url = fetch_url(url, urls.get(metadata["video_id"]))
            except MissingSecret as error:
                missing = error
        prints = _fingerprints(metadata, url, reference, options)
        before, left = earlier.get(metadata["video_id"]), adopted.get(metadata["video_id"])
        chosen = next((r for r in (before, left) if _is_kept(r, *prints)), None)
        in_place = (
            reference is not None and chosen is not None and chosen["status"] == "ok" and options.store == "reference"
        )
        if chosen is not None and not in_place:
            yield _refreshed(chosen, metadata), None, chosen is left
        elif missing is not None:
            yield _without_secret(metadata, missing), None, False
        else:
            previous = chosen or _carried(before, *prints) or _carried(left, *prints)
            yield None, _Job(metadata, url, extra, *prints, reference, previous), False


def build_raw_shard(
    metadata: pa.Table,
    options: Download,
    storage: Storage,
    folder: str,
    previous: pa.Table | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
    *,
    allow_local: bool = False,
    local_lists: bool = False,
    checkpoint_s: float = CHECKPOINT_S,
    urls: Mapping[str, str] | None = None,
    forgotten: Forgotten | None = None,
) -> RawShard:
    """Brings the videos of a shard into storage.

    Rows of `previous` are kept while what was asked for is unchanged and they are ok or failed for good; failures that may pass are
    tried again, alone; everything else is new. Videos that lie in storage are referenced where they stand, unless `options.store` says
    otherwise.

    Args:
        metadata: `video_metadata` of the shard.
        options: the recipe's `download` section.
        storage: where tars go and references are resolved.
        folder: media folder of the shard, relative to the storage root.
        previous: the table in force, if there is one.
        force: makes every row anew.
        progress: called after each row.
        allow_local: whether the source is one of files (folder, webdataset), so that local paths may be read.
        local_lists: whether the source is a list whose rows may name local files, if the list lies here itself.
        checkpoint_s: how often at least a tar is closed and its rows are written down, seconds.
        urls: video_id -> full URL, where the one in `metadata` has its secrets taken out (`fetch_urls.read_fetch_urls`).
        forgotten: the tombstones: nothing is kept of a video whose channel or whose bytes, which are known only once it was fetched, are theirs.

    Raises:
        ValueError: the cookies file or the proxy of the recipe cannot be used.
        StorageError, OSError: the tars cannot be written.
        Unwritable: storage, or the folder for temporary files, is full; finished rows are written down where that can be done.
    """
    began = time.monotonic()
    rows = metadata.sort_by("video_id").to_pylist()
    earlier = {} if force or previous is None else _usable(previous.to_pylist(), storage)
    forgotten = forgotten or Forgotten()
    adopted = {} if force else _adoptable(_ledgers(storage, folder), forgotten)
    finished: list[Row] = []
    jobs: list[_Job] = []
    counts: Counter[str] = Counter()
    for row, job, was_adopted in _plan(rows, options, allow_local, local_lists, earlier, adopted, urls or {}):
        if row is not None:
            finished.append(row)
            counts["adopted" if was_adopted else "kept"] += row["status"] != "rejected"
        elif job is not None:
            jobs.append(job)

    book = _Book(storage, folder, options.tar_bytes, checkpoint_s)
    tally = Counter(r["status"] for r in finished)

    def report() -> None:
        if progress:
            progress(Progress(sum(tally.values()), len(rows), tally["ok"], tally["failed"], book.bytes))

    report()
    scratch = _Scratch()
    try:
        with Downloader(
            _download_options(options), [brought(DOWNLOADERS, n) for n in sorted(named(DOWNLOADERS))]
        ) as downloader:
            maker = _Maker(options, storage, downloader, scratch, forgotten)
            results = run_bounded(jobs, maker.make, _host, options.concurrency, options.per_host)
            try:
                for job, done in results:
                    row = book.add(done, job.metadata)
                    scratch.clear(job.video_id)
                    finished.append(row)
                    tally[row["status"]] += 1
                    counts["kept" if done.kept else "fetched"] += 1
                    report()
            except BaseException as error:
                downloader.close()  # first, so that closing `results` does not wait for downloads under way
                if isinstance(error, Unwritable):  # the disk that is full may be another than the tars'
                    with contextlib.suppress(OSError, StorageError):
                        book.checkpoint()
                raise
            finally:
                results.close()
            book.checkpoint()
            table = _table(finished)
            thumbnails = _thumbnails(finished, maker)
    finally:
        scratch.close()
    own = sorted({r["tar"] for r in finished if r["tar"] and r["etag"] is None})
    return RawShard(table, tuple(own), _stats(finished, counts, book.bytes, time.monotonic() - began), thumbnails)


def _stats(rows: Sequence[Row], counts: Mapping[str, int], fetched_bytes: int, seconds: float) -> RawStats:
    status = Counter(r["status"] for r in rows)
    ok = [r for r in rows if r["status"] == "ok"]
    return RawStats(
        rows=len(rows),
        ok=status["ok"],
        failed=status["failed"],
        rejected=status["rejected"],
        by_class=dict(sorted(Counter(r["error_class"] or "ok" for r in rows).items())),
        kept=counts.get("kept", 0),
        adopted=counts.get("adopted", 0),
        fetched=counts.get("fetched", 0),
        bytes=sum(r["size"] or 0 for r in ok),
        fetched_bytes=fetched_bytes,
        video_s=sum(r["duration_ms"] or 0 for r in ok) / 1000,
        seconds=seconds,
    )


def _thumbnails(rows: Sequence[Row], maker: _Maker) -> tuple[tuple[str, bytes], ...]:
    """Small pictures of the first ok videos; those of kept rows are made now, and one that cannot be made is left out."""
    pictures = []
    for row in sorted((r for r in rows if r["status"] == "ok"), key=lambda r: r["video_id"])[:THUMBNAILS]:
        picture = maker.thumbnails.get(row["video_id"], b"")
        if not picture:
            with (
                contextlib.suppress(DownloadError, StorageError, OSError),
                maker._open(MediaRef(row["tar"], row["offset"], row["size"])) as stream,
            ):
                picture = probe(stream, thorough=False, thumbnail=True).thumbnail
        if picture:
            pictures.append((row["video_id"], picture))
    return tuple(pictures)
