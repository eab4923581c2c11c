"""Fetches one video by URL: plain HTTP(S) for media files, yt-dlp for everything else, each failure with its class.

What belongs here: attempts, pauses, limits, and who fetches what. What does not: whether the file is a video (`probe.py`), where it is
kept, and videos that already lie in storage (`curation_assets.ingest.fetching`).
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from http.cookiejar import LoadError, MozillaCookieJar
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from curation_resources.deadline import Cancellation, Deadline
from curation_resources.download_errors import DownloadError, http_class
from curation_resources.http_transfer import HttpLimits, HttpTransfer, IsPage
from curation_resources.network_faults import of_the_network, status_of
from curation_resources.urls import HTTP_SCHEMES, host_of, redact, scheme_of
from curation_resources.ytdlp_pool import YtdlpPool

RETRY_AFTER_LIMIT_S = 120.0
"""A server that asks for a longer pause is left alone until the next run."""
BACKOFF_LIMIT_S = 60.0

MEDIA_SUFFIXES = frozenset(
    "mp4 m4v mov mkv webm avi mpg mpeg ts m2ts mts flv wmv 3gp 3g2 ogv mxf f4v vob".split()  # noqa: SIM905
)
_MANIFEST_SUFFIXES = frozenset({"m3u8", "mpd", "ism", "f4m"})

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class DownloadOptions:
    """How videos are fetched.

    Attributes:
        height: wanted height, pixels: the smallest that reaches it, else the largest; None is the largest.
        audio: whether audio is wanted.
        subtitle_languages: language codes in order of preference; empty fetches none.
        automatic_subtitles: whether automatic captions stand in for missing manual ones.
        timeout_s: longest silence of a connection, and of one metadata call, seconds.
        total_timeout_s: longest time of one attempt, seconds.
        max_bytes: largest file.
        attempts: attempts at a transient error.
        backoff_s: first pause, seconds; doubles, and a random part of it is taken.
        rate_limit: bytes per second of one download; None is unlimited.
        proxy: proxy URL; None takes the environment's.
        cookies: path of a cookies.txt file in Netscape format.
        player_client: YouTube player clients that yt-dlp should use.
        allow_local: whether plain paths and file:// URLs may be read.
        allow_private: whether addresses that are not public may be connected to; see `curation_resources.addresses`.
    """

    height: int | None = 360
    audio: bool = True
    subtitle_languages: tuple[str, ...] = ()
    automatic_subtitles: bool = True
    timeout_s: float = 60
    total_timeout_s: float = 1800
    max_bytes: int = 8_000_000_000
    attempts: int = 4
    backoff_s: float = 2.0
    rate_limit: int | None = None
    proxy: str | None = None
    cookies: str | None = None
    player_client: tuple[str, ...] = ()
    allow_local: bool = False
    allow_private: bool = True


@dataclass(frozen=True)
class SubtitleFile:
    """A subtitle file as it was sent: language code, whether automatic, extension (vtt or srt), text."""

    language: str
    automatic: bool
    ext: str
    text: str


@dataclass(frozen=True)
class Downloaded:
    """A file that was fetched, not yet looked into.

    Attributes:
        path: the file; the caller's from now on.
        attempts: attempts that it took.
        info: what the extractor says, as yt-dlp names it; empty for plain files.
        subtitles: subtitle files, manual ones first.
        page_url: page or URL it came from, redacted.
        section_start_s: time in the source at which the file begins, where only a section was fetched.
    """

    path: Path
    attempts: int = 1
    info: Mapping[str, Any] = field(default_factory=dict)
    subtitles: tuple[SubtitleFile, ...] = ()
    page_url: str | None = None
    section_start_s: float | None = None


def url_suffix(url: str) -> str:
    """Extension of the last path segment of `url`, lower case, without the dot; '' without one."""
    try:
        name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    except ValueError:
        return ""
    match = re.search(r"\.([A-Za-z0-9]{1,8})$", name)
    return match[1].lower() if match else ""


def local_path(url: str) -> str | None:
    """The local path that `url` names (a plain path or file:// URL), or None if it is no local one."""
    scheme = scheme_of(url)
    if scheme == "file":
        return url2pathname(urlsplit(url).path)
    return url if not scheme and "://" not in url and (os.path.isabs(url) or url.startswith((".", "~"))) else None


class OtherDownloader(Protocol):
    """Fetches what no URL of the web names, or a site better than yt-dlp does: a way that an installed package brings."""

    def handles(self, url: str) -> bool:
        """Whether it fetches this URL; asked before everything else."""

    def fetch(self, url: str, folder: Path, options: DownloadOptions) -> Downloaded:
        """One attempt. Raises DownloadError with its class; those that may pass are tried again. What an HTTP library raises where nothing answers,
        or of a status, is such an error too."""


def _by_another(other: OtherDownloader, url: str, folder: Path, options: DownloadOptions) -> Downloaded:
    """One attempt of a package's downloader. Raises DownloadError where a network did not answer, or the answer was a status; any other error as it is."""
    try:
        return other.fetch(url, folder, options)
    except DownloadError:
        raise
    except Exception as error:
        status, away = status_of(error), of_the_network(error) and type(error) is not OSError  # which speaks of a disk
        if status is None and not away:
            raise
        raise DownloadError(
            "network" if status is None else http_class(status), f"{type(error).__name__}: {error}"
        ) from error


class Downloader:
    """Fetches videos; one instance serves many threads. Use as a context manager: leaving ends all child processes.

    Raises:
        ValueError: the cookies file cannot be read, or the proxy names an environment variable that is not set.
    """

    def __init__(self, options: DownloadOptions, others: Sequence[OtherDownloader] = ()) -> None:
        self.options, self.others = options, tuple(others)
        self.cancelled = Cancellation()
        self._pool = YtdlpPool(self.cancelled)
        self._proxy = _expand(options.proxy) if options.proxy else options.proxy
        self._cookie_text = _read_cookies(options.cookies) if options.cookies else ""
        self._jar = MozillaCookieJar()
        if options.cookies:
            self._jar = MozillaCookieJar(os.path.expanduser(options.cookies))
            self._jar.load(ignore_discard=True, ignore_expires=True)

    def __enter__(self) -> Downloader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops what is under way."""
        self.cancelled.set()
        self._pool.close()

    def fetch(
        self,
        url: str,
        folder: Path,
        section: tuple[float, float] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Downloaded:
        """Fetches the video at `url` into `folder`, which is made if need be.

        Args:
            url: http(s) URL; a plain path or file:// URL if the options allow it.
            folder: scratch folder of this video alone.
            section: (start, end) in seconds, fetched alone where an extractor is used.
            progress: called now and then with the bytes received.

        Raises:
            DownloadError: with its class and the attempts that were made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        other = next((o for o in self.others if o.handles(url)), None)
        if other is not None:
            return self._attempted(lambda _: _by_another(other, url, folder, self.options))
        path = local_path(url)
        if path is not None:
            return self._copy_local(path, folder)
        if scheme_of(url) not in HTTP_SCHEMES:
            raise _counted(DownloadError("unsupported", f"only http(s) URLs are fetched, not {redact(url)!r}"), 1)
        if not host_of(url):
            raise _counted(DownloadError("unsupported", "not a valid URL: it names no host"), 1)
        return self._attempted(_Fetch(self, url, folder, section, progress).attempt)

    def _attempted(self, fetch: Callable[[int], Downloaded]) -> Downloaded:
        """What the first attempt gives that does not fail."""
        for attempt in range(1, self.options.attempts + 1):
            try:
                return fetch(attempt)
            except DownloadError as error:
                if not error.transient or attempt == self.options.attempts or self.cancelled.is_set():
                    raise _counted(error, attempt) from error
                self._pause(error, attempt)
        raise AssertionError("attempts is at least one")

    def _pause(self, error: DownloadError, attempt: int) -> None:
        """Waits before the next attempt: what the server asks for, or exponential backoff with full jitter."""
        if error.retry_after_s is not None and error.retry_after_s > RETRY_AFTER_LIMIT_S:
            raise _counted(
                DownloadError(
                    error.error_class, f"{error.message}; the server asks to wait {error.retry_after_s:.0f} s"
                ),
                attempt,
            ) from error
        longest = min(BACKOFF_LIMIT_S, self.options.backoff_s * 2 ** (attempt - 1))
        self.cancelled.wait(max(random.uniform(0, longest), error.retry_after_s or 0.0))

    def _copy_local(self, path: str, folder: Path) -> Downloaded:
        if not self.options.allow_local:
            raise _counted(
                DownloadError("unsupported", "local files are read only for folder and webdataset sources"), 1
            )
        source = Path(path).expanduser()
        target = folder / f"media.{url_suffix(source.as_posix()) or 'bin'}"
        try:
            if source.stat().st_size > self.options.max_bytes:
                raise _counted(DownloadError("too_large", f"the file has more than {self.options.max_bytes} bytes"), 1)
            shutil.copyfile(source, target)
        except FileNotFoundError as error:
            raise _counted(DownloadError("gone", f"there is no file {source.name}"), 1) from error
        except OSError as error:
            raise _counted(DownloadError("storage", f"{source.name} cannot be read: {error.strerror}"), 1) from error
        return Downloaded(target)


class _Fetch:
    """The attempts at one URL and what they learn: whether it is a page, and the bytes that have arrived."""

    def __init__(
        self,
        owner: Downloader,
        url: str,
        folder: Path,
        section: tuple[float, float] | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.owner, self.url, self.folder, self.section, self.progress = owner, url, folder, section, progress
        options = owner.options
        self.suffix = url_suffix(url)
        self.is_file = self.suffix in MEDIA_SUFFIXES
        self.is_page: bool | None = True if self.suffix in _MANIFEST_SUFFIXES else False if self.is_file else None
        self.page_type = ""
        limits = HttpLimits(
            options.timeout_s, options.max_bytes, options.rate_limit, owner._proxy, options.allow_private
        )
        name = f"media.{self.suffix if self.is_file else 'bin'}"
        self.transfer = HttpTransfer(url, folder / name, limits, owner._jar, expect_media=self.is_file)

    def attempt(self, number: int) -> Downloaded:
        deadline = Deadline(self.owner.options.total_timeout_s, self.owner.cancelled)
        if self.is_page is None:
            site = self.owner._pool.run({"op": "site", "url": self.url}, deadline, self.owner.options.timeout_s)
            self.is_page = True if site["extractor"] != "Generic" else None
        if not self.is_page:
            try:
                self.transfer.attempt(deadline)
                return Downloaded(self.transfer.path, number, page_url=redact(self.url))
            except IsPage as page:
                self.is_page, self.page_type = True, page.content_type
        return self._extract(number, deadline)

    def _extract(self, number: int, deadline: Deadline) -> Downloaded:
        options = self.owner.options
        languages = list(options.subtitle_languages)
        job = {
            "op": "fetch",
            "url": self.url,
            "folder": str(self.folder),
            "height": options.height,
            "audio": options.audio,
            "subtitles": {"languages": languages, "automatic": options.automatic_subtitles} if languages else None,
            "timeout_s": options.timeout_s,
            "max_bytes": options.max_bytes,
            "rate_limit": options.rate_limit,
            "proxy": self.owner._proxy,
            "allow_private": options.allow_private,
            "cookies": self.owner._cookie_text,
            "player_client": list(options.player_client),
            "section": self.section,
        }
        try:
            answer = self.owner._pool.run(job, deadline, options.timeout_s, self.progress)
        except DownloadError as error:
            if self.is_file and self.page_type and error.error_class in ("no_video", "unsupported"):
                raise DownloadError("corrupt", f"the server sent {self.page_type} instead of a video file") from error
            raise
        page = str(answer["info"].get("webpage_url") or self.url)
        return Downloaded(
            Path(answer["path"]),
            number,
            answer["info"],
            tuple(SubtitleFile(**track) for track in answer["subtitles"]),
            redact(page),
            answer["section_start_s"],
        )


def _counted(error: DownloadError, attempts: int) -> DownloadError:
    """`error` with the number of attempts noted."""
    error.attempts = attempts
    return error


def _expand(proxy: str) -> str:
    expanded = os.path.expandvars(proxy)
    if missing := re.search(r"\$\{?\w+\}?", expanded):
        raise ValueError(f"download.proxy names {missing[0]}, which is not set in the environment")
    return expanded


def _read_cookies(path: str) -> str:
    source = Path(path).expanduser()
    try:
        MozillaCookieJar(source).load(ignore_discard=True, ignore_expires=True)
        return source.read_text(encoding="utf-8")
    except (OSError, LoadError, UnicodeDecodeError) as error:
        raise ValueError(
            f"download.cookies: {source.name} cannot be read as a cookies.txt file in Netscape format ({type(error).__name__})"
        ) from error


def run_bounded(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    group_of: Callable[[Job], Hashable | None],
    concurrency: int,
    per_group: int,
) -> Generator[tuple[Job, Result], None, None]:
    """Runs `work` on every job in threads and yields results as they come.

    At most `concurrency` jobs run or wait to be taken by the caller, so that what they hold (scratch files) stays bounded, and at most
    `per_group` of one group (host) run at a time, None being no group; a busy group does not hold up the others.
    """
    waiting: dict[Hashable | None, deque[Job]] = {}
    for job in jobs:
        waiting.setdefault(group_of(job), deque()).append(job)
    running: Counter[Hashable | None] = Counter()
    futures: dict[Future[Result], tuple[Hashable | None, Job]] = {}
    executor = ThreadPoolExecutor(concurrency, thread_name_prefix="download")

    def submit() -> None:
        emptied = []
        for group, queue in waiting.items():
            limit = concurrency if group is None else per_group
            while queue and running[group] < limit and len(futures) < concurrency:
                running[group] += 1
                job = queue.popleft()
                futures[executor.submit(work, job)] = (group, job)
            if not queue:
                emptied.append(group)
            if len(futures) >= concurrency:
                break
        for group in emptied:
            del waiting[group]

    try:
        submit()
        while futures:
            done, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in done:
                group, job = futures[future]
                result = future.result()
                yield job, result
                del futures[future]
                running[group] -= 1
            submit()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
