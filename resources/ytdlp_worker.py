"""A child process that runs yt-dlp for `curation_resources.ytdlp_pool`: one JSON job per line in, JSON events out.

It is a process of its own because extractors run regular expressions and scripts of a site over whatever it sends, hold the
interpreter while they do, and start ffmpeg: only a process group can be ended for certain when its time is over. When the parent is
gone, standard input ends and the group kills itself.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from curation_resources.download_errors import DownloadError, classify_message, http_class, shorten_message
from curation_resources.formats import choose_formats
from curation_resources.guard_proxy import GuardProxy, Upstream
from curation_resources.http_transfer import basic
from curation_resources.urls import host_of, scheme_of

PAGE_BYTES = 64 * 1024 * 1024
"""Largest page or manifest that an extractor may read at once."""
SUBTITLE_BYTES = 8 * 1024 * 1024
MEMORY_BYTES = 8 * 1024**3
"""Address space of the process; a page that makes an extractor take more ends in an error instead of the machine's memory."""
SUBTITLE_FORMATS = ("vtt", "srt")
PROGRESS_S = 0.5

Emit = Callable[[Mapping[str, Any]], None]


class _Silent:
    """Keeps yt-dlp from writing anywhere."""

    def debug(self, message: str) -> None:
        return

    info = warning = error = debug


def _bounded_ydl(params: dict[str, Any]) -> Any:
    """A YoutubeDL that speaks only http(s) through `requests` and reads no page of more than PAGE_BYTES."""
    import yt_dlp

    class BoundedYoutubeDL(yt_dlp.YoutubeDL):
        def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
            return super().build_request_director([h for h in handlers if h.RH_KEY == "Requests"], preferences)

        def urlopen(self, req: Any) -> Any:
            response = super().urlopen(req)
            read = response.read

            def bounded(amount: int | None = None) -> bytes:
                if amount is not None and amount >= 0:
                    return bytes(read(amount))
                blocks, size = [], 0
                while block := read(1 << 18):
                    blocks.append(block)
                    size += len(block)
                    if size > PAGE_BYTES:
                        raise DownloadError("too_large", f"a page of the extractor has more than {PAGE_BYTES} bytes")
                return b"".join(blocks)

            response.read = bounded
            return response

    return BoundedYoutubeDL(params)


def _params(job: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """yt-dlp's parameters for a job."""
    import imageio_ffmpeg
    from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    FFmpegPostProcessor._ffmpeg_location.set(
        ffmpeg
    )  # as yt-dlp's own main does: its check for sections reads no parameters
    last = [0.0]
    finished: dict[str, int] = {}

    def progress(status: Mapping[str, Any]) -> None:
        done = int(status.get("downloaded_bytes") or 0)
        finished[str(status.get("filename"))] = done
        if sum(finished.values()) > job["max_bytes"] or int(status.get("total_bytes") or 0) > job["max_bytes"]:
            raise DownloadError("too_large", f"the file has more than {job['max_bytes']} bytes")
        if time.monotonic() - last[0] >= PROGRESS_S:
            last[0] = time.monotonic()
            emit({"event": "progress", "bytes": sum(finished.values())})

    def select(context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        choice = choose_formats(context["formats"], job["height"], job["audio"])
        if len(choice.formats) == 1:
            yield dict(choice.formats[0])
        else:
            yield {
                **{k: v for k, v in choice.formats[0].items() if k != "url"},
                "format_id": "+".join(str(f["format_id"]) for f in choice.formats),
                "ext": choice.ext,
                "requested_formats": list(choice.formats),
                "protocol": "+".join(str(f["protocol"]) for f in choice.formats),
                "acodec": choice.formats[1].get("acodec"),
            }

    params: dict[str, Any] = {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": _Silent(),
        "cachedir": False,
        "format": select,
        "outtmpl": {"default": os.path.join(job["folder"], "media.%(ext)s")},
        "noplaylist": True,
        "playlist_items": "1",
        "socket_timeout": job["timeout_s"],
        "retries": 2,
        "fragment_retries": 2,
        "extractor_retries": 1,
        "skip_unavailable_fragments": False,
        "overwrites": True,
        "updatetime": False,
        "geo_bypass": False,
        "ratelimit": job["rate_limit"],
        "progress_hooks": [progress],
        "ffmpeg_location": ffmpeg,
        "external_downloader": {"m3u8": "native", "dash": "native"},
        "external_downloader_args": {
            "ffmpeg_i": [
                *("-rw_timeout", str(int(job["timeout_s"] * 1e6))),
                *("-protocol_whitelist", "http,https,tcp,tls,crypto,httpproxy,data"),
            ]
        },
    }
    if job["proxy"] is not None:
        params["proxy"] = job["proxy"]
    if job["cookies"]:
        params["cookiefile"] = io.StringIO(job["cookies"])
    if job["player_client"]:
        params["extractor_args"] = {"youtube": {"player_client": list(job["player_client"])}}
    if job["section"]:
        start, end = job["section"]
        params["download_ranges"] = lambda _info, _ydl: [{"start_time": start, "end_time": end}]
    return params


def extractor_of(url: str) -> str:
    """Key of the extractor that reads `url`; 'Generic' if no site of its own."""
    import yt_dlp.extractor

    for extractor in yt_dlp.extractor.gen_extractor_classes():
        if extractor.suitable(url) and extractor.ie_key() != "Generic":
            return str(extractor.ie_key())
    return "Generic"


def _single(info: Mapping[str, Any] | None) -> dict[str, Any]:
    """The one video of an extraction; of a page or list with several, the first."""
    if info is None:
        raise DownloadError("no_video", "the page has no video")
    while info.get("_type") in ("playlist", "multi_video"):
        entries = [e for e in info.get("entries") or () if e]
        if not entries:
            raise DownloadError("no_video", "the page has no video")
        info = entries[0]
    if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
        raise DownloadError("unsupported", "the video is live or has not begun yet")
    return dict(info)


def subtitle_choices(
    info: Mapping[str, Any], languages: list[str], automatic: bool
) -> list[tuple[str, bool, Mapping[str, Any]]]:
    """(language, automatic, format) of the track to fetch for each language: manual, else automatic; a regional variant if need be."""
    chosen = []
    for language in languages:
        for is_automatic, key in ((False, "subtitles"), (True, "automatic_captions")):
            if is_automatic and not automatic:
                continue
            tracks: Mapping[str, Any] = info.get(key) or {}
            names = [n for n in tracks if n == language] or sorted(n for n in tracks if n.startswith(f"{language}-"))
            found = next(
                (
                    (name, is_automatic, track)
                    for name in names
                    for ext in SUBTITLE_FORMATS
                    for track in tracks[name]
                    if track.get("ext") == ext and track.get("protocol") not in ("m3u8", "m3u8_native")
                ),
                None,
            )
            if found:
                chosen.append(found)
                break
    return sorted(chosen, key=lambda c: c[1])


def _subtitles(ydl: Any, info: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The wanted subtitle files; one that cannot be had is left out, because the video is worth having without it."""
    from yt_dlp.networking import Request
    from yt_dlp.networking.exceptions import RequestError

    tracks = []
    for language, automatic, track in (
        subtitle_choices(info, wanted["languages"], wanted["automatic"]) if wanted else ()
    ):
        text = track.get("data")
        if text is None:
            try:
                response = ydl.urlopen(
                    Request(track["url"], headers=track.get("http_headers") or info.get("http_headers") or {})
                )
                text = response.read(SUBTITLE_BYTES).decode("utf-8", "replace")
            except (RequestError, DownloadError):
                continue
        tracks.append({"language": language, "automatic": automatic, "ext": track["ext"], "text": text})
    return tracks


def _fetch(job: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Extracts once, downloads with the same information, and says where the file is."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (job["max_bytes"] + 1, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with _bounded_ydl(_params(job, emit)) as ydl:
        info = _single(ydl.extract_info(job["url"], download=False))
        emit({"event": "extracted"})
        subtitles = _subtitles(ydl, info, job["subtitles"])
        info = ydl.process_ie_result(info, download=True)
        downloads = info.get("requested_downloads") or [{}]
        path = downloads[0].get("filepath")
        if not path or not os.path.exists(path):
            raise DownloadError("network", "the extractor gave no file")
        if os.path.getsize(path) > job["max_bytes"]:
            raise DownloadError("too_large", f"the file has more than {job['max_bytes']} bytes")
        bulky = (
            "formats",
            "requested_formats",
            "requested_downloads",
            "automatic_captions",
            "subtitles",
            "thumbnails",
            "comments",
        )
        kept = ydl.sanitize_info({k: v for k, v in info.items() if k not in bulky}, remove_private_keys=True)
        return {
            "event": "done",
            "path": path,
            "info": kept,
            "subtitles": subtitles,
            "section_start_s": downloads[0].get("section_start"),
        }


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what is behind it, outermost first: yt-dlp keeps causes in `exc_info` and `cause` as well."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        current = pending.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        info = getattr(current, "exc_info", None)
        pending += [info[1] if info else None, getattr(current, "cause", None), current.__cause__, current.__context__]


def failure(error: BaseException) -> DownloadError:
    """The class of what yt-dlp raised: our own errors as they are, else by type, by HTTP status, and by its words."""
    from yt_dlp.networking.exceptions import HTTPError, TransportError
    from yt_dlp.utils import GeoRestrictedError, UnsupportedError

    causes = list(_causes(error))
    message = shorten_message(str(error))
    for cause in causes:
        if isinstance(cause, DownloadError):
            return cause
        if isinstance(cause, MemoryError):
            return DownloadError("too_large", "the page takes more memory than is allowed")
        if isinstance(cause, GeoRestrictedError):
            return DownloadError("geo", message)
        if isinstance(cause, UnsupportedError):
            return DownloadError("no_video", "the page has no video that can be extracted")
    name = classify_message(str(error))
    if name == "unsupported":
        for cause in causes:
            if isinstance(cause, HTTPError):
                name = http_class(cause.status)
            elif isinstance(cause, TransportError):
                name = "timeout" if "timed out" in str(cause).lower() else "network"
            elif isinstance(cause, OSError):
                name = "storage" if cause.errno in (28, 30, 122) else "too_large" if cause.errno == 27 else name
    return DownloadError(name, message)


def _upstream(given: str | None) -> Upstream | None:
    """The operator's proxy as a guard can go through it."""
    if not given:
        return None
    parts = urlsplit(given if "://" in given else f"http://{given}")
    if parts.scheme != "http":
        raise DownloadError(
            "unsupported",
            f"addresses cannot be judged behind a {parts.scheme}:// proxy; use an http:// proxy or set `download.allow_private: true`",
        )
    user = parts.netloc.rpartition("@")[0]
    return Upstream(parts.hostname or "", parts.port or 80, basic(user) if user else "")


@contextlib.contextmanager
def _guarded(job: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The job with a proxy that leads to public addresses only, for yt-dlp and the ffmpeg that it starts."""
    proxies = urllib.request.getproxies()
    exceptions = {name: os.environ.pop(name) for name in ("no_proxy", "NO_PROXY") if name in os.environ}

    def upstream_of(url: str) -> Upstream | None:
        if job["proxy"] is not None:
            return _upstream(job["proxy"])
        bypassed = urllib.request.proxy_bypass_environment(host_of(url), proxies)  # type: ignore[attr-defined]  # typeshed lacks it
        return None if bypassed else _upstream(proxies.get(scheme_of(url)))

    try:
        with GuardProxy(job["timeout_s"], upstream_of) as guard:
            try:
                yield {**job, "proxy": guard.url}
            except Exception as error:
                if guard.refusals:
                    raise DownloadError("unsupported", guard.refusals[0]) from error
                raise
    finally:
        os.environ.update(exceptions)


def answer(job: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Does one job; every failure is an answer."""
    try:
        if job["op"] == "site":
            return {"event": "done", "extractor": extractor_of(job["url"])}
        if job["allow_private"]:
            return _fetch(job, emit)
        with _guarded(job) as guarded:
            return _fetch(guarded, emit)
    except Exception as error:  # noqa: BLE001  # the row boundary of this process: the failure is the row's
        failed = failure(error)
        return {
            "event": "failed",
            "error_class": failed.error_class,
            "message": failed.message,
            "transient": failed.transient,
        }


def main() -> None:
    """Answers jobs until standard input ends, which also ends a job under way, with all its children."""
    os.environ["YTDLP_NO_PLUGINS"] = "1"
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(event: Mapping[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    def listen() -> None:
        for line in sys.stdin:
            jobs.put(line)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    import yt_dlp

    extractor_of(
        "http://127.0.0.1/"
    )  # compiles the patterns of all sites, which belongs to starting, like the next import
    yt_dlp.extractor.get_info_extractor("Generic")
    emit({"event": "ready", "version": yt_dlp.version.__version__})
    threading.Thread(target=listen, daemon=True).start()
    while True:
        job = json.loads(jobs.get())
        emit(answer(job, emit))
