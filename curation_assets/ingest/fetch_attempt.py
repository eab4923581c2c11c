"""One attempt at one video: downloaded, copied, or looked into where it stands; whatever goes wrong becomes the class of its row.

What belongs here: the row boundary, behind which no video may end the run of the others. What does not: attempts at one URL and the
classes of their errors (`curation_resources.downloader`, `.download_errors`), what makes a file a video (`curation_resources.probe`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from curation_assets.ingest.fetch_fingerprints import StoredVideo, failure_fingerprint, section_s
from curation_assets.ingest.fetch_plan import VideoRequest
from curation_assets.ingest.fetch_rows import (
    Row,
    blank_row,
    described_columns,
    probed_columns,
    refreshed_row,
    sample_columns,
    subtitle_track,
    taken_down_row,
)
from curation_assets.ingest.forgotten import Forgotten
from curation_assets.ingest.raw_shards import Download
from curation_assets.ingest.sources.video2dataset import MADE_BY
from curation_assets.ingest.text_encodings import EncodingError, text_of
from curation_resources.download_errors import DownloadError
from curation_resources.downloader import Downloader
from curation_resources.faults import fault_of, stop_if_full
from curation_resources.media import MediaRef, RangeReader
from curation_resources.probe import Probe, probe
from curation_resources.scratch import scratch_root
from curation_resources.sound_joining import join_sound
from curation_resources.storage import Storage
from curation_resources.tars import sample_key
from curation_resources.unwritable import full_folder, has_room
from curation_resources.urls import redact

THUMBNAILS = 24
"""Videos of a shard of which a small picture is shown."""
SIDECAR_BYTES = 4 << 20
PROBE_BLOCK = 1 << 20
"""Bytes that are fetched at once when a remote medium is looked into."""


@dataclass(frozen=True)
class FetchedVideo:
    """What came of an attempt.

    Attributes:
        row: fits `raw_shards`, but for where its bytes lie if they are to go into a tar.
        media: the local file whose bytes go into a tar; None if none do.
        extension: of that file's member in the tar.
        kept: whether it is an earlier row, which still holds.
    """

    row: Row
    media: Path | None = None
    extension: str = ""
    kept: bool = False


def failed_row(request: VideoRequest, error: DownloadError) -> Row:
    """The row of a video that could not be had, with the class of the failure and all attempts so far."""
    before = request.previous["attempts"] or 0 if request.previous else 0
    return {
        **blank_row(request.metadata, failure_fingerprint(request.refusal_fingerprint, error.error_class)),
        "status": "failed",
        "error_class": error.error_class,
        "error": error.message,
        "attempts": before + error.attempts,
    }


class VideoFolders:
    """A temporary folder, with one for each video below it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="raw-", dir=scratch_root()))

    def folder(self, video_id: str) -> Path:
        """The folder of one video; whoever writes into it makes it."""
        return self.path / sample_key(video_id)

    def clear(self, video_id: str) -> None:
        """Removes what lies in the folder of one video."""
        shutil.rmtree(self.folder(video_id), ignore_errors=True)

    def close(self) -> None:
        """Removes all folders."""
        shutil.rmtree(self.path, ignore_errors=True)


class VideoFetcher:
    """Makes rows; its `fetch` runs in threads."""

    def __init__(
        self,
        options: Download,
        storage: Storage,
        downloader: Downloader,
        scratch: VideoFolders,
        forgotten: Forgotten,
    ) -> None:
        self.options, self.storage, self.downloader, self.scratch = options, storage, downloader, scratch
        self.forgotten = forgotten
        self.thumbnails: dict[str, bytes] = {}
        self._etags: dict[str, str] = {}
        self._lock = threading.Lock()

    def fetch(self, request: VideoRequest) -> FetchedVideo:
        """Makes the row of `request`; whatever goes wrong with this video is said in its row."""
        try:
            done = self._download(request) if request.stored is None else self._refer(request, request.stored)
            why = self._refused(done)
            if why is None:
                return done
            self.scratch.clear(request.video_id)
            self.thumbnails.pop(request.video_id, None)
            return FetchedVideo(taken_down_row(request.metadata, why))
        except DownloadError as error:
            # What a site says is its own: only where no room is left it was ours.
            full = None if has_room(self.scratch.path) else full_folder(error.message)
            self.scratch.clear(request.video_id)
            if full is not None:
                raise full from error
            return FetchedVideo(failed_row(request, error))
        except Exception as error:  # noqa: BLE001  # the row boundary: no medium may end the run of the others
            fault = fault_of(error)
            self.scratch.clear(request.video_id)
            stop_if_full([fault] if fault else [])
            if fault is None:
                return FetchedVideo(failed_row(request, DownloadError("corrupt", f"{type(error).__name__}: {error}")))
            reason = error.strerror if isinstance(error, OSError) and error.strerror else fault.reason
            return FetchedVideo(failed_row(request, DownloadError(fault.kind, reason)))

    def _refused(self, done: FetchedVideo) -> str | None:
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

    def _download(self, request: VideoRequest) -> FetchedVideo:
        if not request.url:
            raise DownloadError("unsupported", "the source gives no URL")
        got = self.downloader.fetch(
            request.url, self.scratch.folder(request.video_id), section_s(request.metadata, self.options)
        )
        try:
            found = self._probed(request, got.path, thorough=True)
        except DownloadError as error:
            error.attempts = got.attempts
            raise
        tracks = (
            [subtitle_track(s.language, s.automatic, s.text) for s in got.subtitles] if self.options.subtitles else None
        )
        row = self._ok_row(request, found, got.info, tracks, got.attempts)
        row |= {"page_url": got.page_url, "section_start_ms": _to_ms(got.section_start_s)}
        return FetchedVideo(row, got.path, found.extension)

    def _refer(self, request: VideoRequest, stored: StoredVideo) -> FetchedVideo:
        """A video that lies in storage already: looked into where it stands, or copied if the recipe says so or its sound lies beside it."""
        reference = stored.media
        etag = self._etag(reference.tar, request.listed_only)
        kept = request.previous
        if kept is not None and kept["status"] == "ok" and kept["etag"] == etag:
            return FetchedVideo(refreshed_row(kept, request.metadata), kept=True)
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
        info, tracks = self._sidecars(request.extra.get("sidecars"))
        where = {"page_url": redact(reference.tar)} | (sample_columns(info) if stored.made_by == MADE_BY else {})
        joined = stored.sound is not None and not self._has_sound(here)
        if self.options.store == "copy" or joined:
            target = self._copied(request, here, "media")
            if joined and stored.sound is not None:
                target = self._with_sound(request, target, stored.sound)
            found = self._probed(request, target, thorough=True)
            return FetchedVideo(self._ok_row(request, found, info, tracks, 1) | where, target, found.extension)
        with self.open_reference(here) as stream:
            found = self._probed(request, stream, thorough=False)
        row = self._ok_row(request, found, info, tracks, 1) | where
        row |= {"tar": reference.tar, "offset": reference.offset, "size": size, "etag": etag}
        return FetchedVideo(row)

    def _has_sound(self, reference: MediaRef) -> bool:
        with self.open_reference(reference) as stream:
            return probe(stream, thorough=False).audio_codec is not None

    def _copied(self, request: VideoRequest, reference: MediaRef, name: str) -> Path:
        target = self.scratch.folder(request.video_id) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.open_reference(reference) as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file, 8 << 20)
        return target

    def _with_sound(self, request: VideoRequest, video: Path, reference: MediaRef) -> Path:
        """The video with the sound that lies beside it."""
        sound = self._copied(request, reference, "sound")
        target = video.with_name("joined")
        join_sound(video, sound, target)
        video.unlink()
        sound.unlink()
        return target

    def _probed(self, request: VideoRequest, source: Path | BinaryIO, thorough: bool) -> Probe:
        found = probe(source, thorough=thorough, thumbnail=len(self.thumbnails) < 2 * THUMBNAILS)
        if found.thumbnail:
            self.thumbnails[request.video_id] = found.thumbnail
        return found

    def _ok_row(
        self, request: VideoRequest, found: Probe, info: Mapping[str, Any], tracks: list[Row] | None, attempts: int
    ) -> Row:
        before = request.previous["attempts"] or 0 if request.previous else 0
        return {
            **blank_row(request.metadata, request.fingerprint),
            "status": "ok",
            "attempts": before + attempts,
            **probed_columns(found),
            **described_columns(info, request.metadata, self.options.info),
            "subtitles": tracks,
        }

    def _etag(self, tar: str, listed_only: bool) -> str:
        """The file's tag. One that is not there is gone if a list names it, unless all of its folder is away, as with a disk that is not mounted; of one of a folder
        or tar, the next indexing says whether it is gone for good."""
        with self._lock:
            known = self._etags.get(tar)
        if known is None:
            try:
                known = self.storage.etag(tar)
            except FileNotFoundError as error:
                gone = listed_only and ("://" in tar or _has_files(Path(tar).parent))
                raise DownloadError("gone" if gone else "storage", f"there is no file {redact(tar)}") from error
            with self._lock:
                self._etags[tar] = known
        return known

    def open_reference(self, reference: MediaRef) -> BinaryIO:
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
                tracks.append(subtitle_track(language or None, False, found.text, found.assumed))
                continue
            with contextlib.suppress(ValueError, RecursionError):
                parsed = json.loads(found.text)
                info = parsed if isinstance(parsed, dict) and not language else info
        return info, tracks or None


def _has_files(folder: Path) -> bool:
    try:
        return next(folder.iterdir(), None) is not None
    except OSError:
        return False


def _to_ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
