"""The downloader against a server that misbehaves, and yt-dlp against real pages, playlists and processes; nothing is mocked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import pytest

from curation_assets_tests.fault_server import FaultServer, wait_until
from curation_assets_tests.sample_video import sample_video
from curation_resources import addresses
from curation_resources.download_errors import DownloadError
from curation_resources.downloader import Downloaded, Downloader, DownloadOptions, local_path, run_bounded, url_suffix
from curation_resources.probe import probe

VTT = "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n"
PATIENT = DownloadOptions(timeout_s=60, total_timeout_s=120, attempts=2, backoff_s=0.01, max_bytes=3_000_000)
HASTY = replace(PATIENT, timeout_s=0.6, total_timeout_s=1.2)
"""For what ends by the time limit alone: on a busy machine anything may take longer."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultServer]:
    folder = tmp_path_factory.mktemp("served")
    video = sample_video(4.0, (320, 180))
    source = folder / "source.mp4"
    source.write_bytes(video)
    small = folder / "small.mp4"
    small.write_bytes(sample_video(4.0, (160, 90), seed=1))
    ffmpeg, segments = imageio_ffmpeg.get_ffmpeg_exe(), ("-f", "hls", "-hls_time", "1", "-hls_list_size", "0")
    for name, file in (("low", small), ("high", source)):
        target = str(folder / f"{name}.m3u8")
        subprocess.run([ffmpeg, "-loglevel", "error", "-i", str(file), "-c", "copy", *segments, target], check=True)
    (folder / "en.vtt").write_text(VTT)
    (folder / "subs.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nen.vtt\n#EXT-X-ENDLIST\n")
    (folder / "all.m3u8").write_text(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION=160x90\nlow.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=320x180\nhigh.m3u8\n"
    )
    (folder / "stalled.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/drip/segment.ts\n#EXT-X-ENDLIST\n"
    )
    (folder / "live.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    )
    (folder / "private.html").write_text(
        '<html><head><title>t</title></head><body><video src="http://127.0.0.1:9/v.mp4"></video></body></html>'
    )
    segment = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    (folder / "private.m3u8").write_text(segment.format("http://[::ffff:127.0.0.1]:9/high0.ts"))
    page = (
        '<!doctype html><html><head><title>Subtitled</title></head><body><video src="/ok/v.mp4">'
        '<track kind="subtitles" srclang="en" src="/folder/en.vtt"><track kind="subtitles" srclang="fr" src="/folder/en.vtt"></video></body></html>'
    )
    (folder / "subtitled.html").write_text(page)
    with FaultServer({"v.mp4": video, "a.m4a": sample_video(video=False), "v": video}, folder) as running:
        yield running


@pytest.fixture(scope="module")
def downloader() -> Iterator[Downloader]:
    with Downloader(PATIENT) as running:
        yield running


@pytest.fixture(scope="module")
def hasty() -> Iterator[Downloader]:
    with Downloader(HASTY) as running:
        yield running


def outcome(downloader: Downloader, url: str, folder: Path) -> str | Downloaded:
    try:
        return downloader.fetch(url, folder)
    except DownloadError as error:
        return error.error_class


@pytest.mark.parametrize(
    ("path", "attempts"),
    [
        ("ok/v.mp4", 1),
        ("plain/v.mp4", 1),
        ("partial/v.mp4", 1),
        ("moved/301/v.mp4", 1),
        ("moved/308/v.mp4", 1),
        ("flaky/429/1/v.mp4", 2),
        ("flaky/500/1/v.mp4", 2),
        ("flaky/503/1/v.mp4", 2),
        ("cut/1/v.mp4", 2),
        ("changed/v.mp4", 2),
        ("query/v.mp4?a=b%20c&sig=x+y", 1),
    ],
)
def test_what_recovers(path: str, attempts: int, server: FaultServer, downloader: Downloader, tmp_path: Path) -> None:
    got = downloader.fetch(server.url(path), tmp_path)
    assert got.path.read_bytes() == server.files["v.mp4"]
    assert got.attempts == attempts


def test_a_cut_download_is_resumed_where_it_stopped(
    server: FaultServer, downloader: Downloader, tmp_path: Path
) -> None:
    downloader.fetch(server.url("cut/1/v.mp4?resume"), tmp_path)
    headers = [h for _, p, h in server.requests if p == "/cut/1/v.mp4?resume"]
    half = len(server.files["v.mp4"]) // 2
    assert [h.get("Range") for h in headers] == [None, f"bytes={half}-"]
    assert headers[1]["If-Range"].startswith('"')
    assert [p for _, p, _ in server.requests if p.startswith("/query/")] == ["/query/v.mp4?a=b%20c&sig=x+y"]


@pytest.mark.parametrize(
    ("path", "error_class", "requests"),
    [
        ("status/401/v.mp4", "private", 1),
        ("status/403/v.mp4", "private", 1),
        ("status/404/v.mp4", "gone", 1),
        ("status/410/v.mp4", "gone", 1),
        ("status/451/v.mp4", "geo", 1),
        ("status/429/v.mp4", "rate_limited", 2),
        ("status/500/v.mp4", "network", 2),
        ("patience/3600/v.mp4", "rate_limited", 1),
        ("stall/v.mp4", "timeout", 2),
        ("mute/v.mp4", "timeout", 2),
        ("drip/v.mp4", "timeout", 2),
        ("dripheaders/v.mp4", "timeout", 2),
        ("cutplain/v.mp4", "network", 2),
        ("long/v.mp4", "network", 2),
        ("endless/v.mp4", "too_large", 1),
        ("huge/v.mp4", "too_large", 1),
        ("away/file/v.mp4", "unsupported", 1),
        ("away/ftp/v.mp4", "unsupported", 1),
        ("loop/v.mp4", "unsupported", 11),
    ],
)
def test_what_fails(
    path: str,
    error_class: str,
    requests: int,
    server: FaultServer,
    downloader: Downloader,
    hasty: Downloader,
    tmp_path: Path,
) -> None:
    before = server.hits(path)
    assert outcome(hasty if error_class == "timeout" else downloader, server.url(path), tmp_path) == error_class
    wait_until(lambda: server.hits(path) - before >= requests)  # the server may notice one that was given up only now
    assert server.hits(path) - before == requests


@pytest.mark.parametrize("path", ["short/v.mp4", "lie/v.mp4", "json/v.mp4", "empty/v.mp4"])
def test_what_arrives_but_is_no_whole_video(
    path: str, server: FaultServer, downloader: Downloader, tmp_path: Path
) -> None:
    got = downloader.fetch(server.url(path), tmp_path)
    with pytest.raises(DownloadError) as caught:
        probe(got.path)
    assert caught.value.error_class == "corrupt"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "ftp://127.0.0.1/v.mp4",
        "data:video/mp4;base64,AAAA",
        "v.mp4",
        "http://",
        "http://[bad/v.mp4",
        "http://h:port/v.mp4",
        "",
    ],
)
def test_only_http_is_fetched(url: str, downloader: Downloader, tmp_path: Path) -> None:
    assert outcome(downloader, url, tmp_path) == "unsupported"


def test_nobody_there_is_a_network_error(downloader: Downloader, tmp_path: Path) -> None:
    assert outcome(downloader, "http://127.0.0.1:1/v.mp4", tmp_path) == "network"
    assert outcome(downloader, "http://nowhere.invalid/v.mp4", tmp_path) == "network"


class _Elsewhere:
    """A package's downloader that asks a server by itself; the first `refusals` attempts find nobody there."""

    def __init__(self, url: str, refusals: int) -> None:
        self.url, self.refusals, self.asked = url, refusals, 0

    def handles(self, url: str) -> bool:
        return url.startswith("elsewhere:")

    def fetch(self, url: str, folder: Path, options: DownloadOptions) -> Downloaded:
        self.asked += 1
        with urllib.request.urlopen("http://127.0.0.1:1/" if self.asked <= self.refusals else self.url) as answer:
            (folder / "v.mp4").write_bytes(answer.read())
        return Downloaded(folder / "v.mp4")


def test_a_downloader_of_a_package_is_asked_again_where_nobody_answered(server: FaultServer, tmp_path: Path) -> None:
    for path, refusals, said, asked in (
        ("ok/v.mp4", 1, None, 2),
        ("ok/v.mp4", 9, "network: URLError: <urlopen error [Errno 111] Connection refused>", HASTY.attempts),
        ("status/503/v.mp4", 0, "network: HTTPError: HTTP Error 503", HASTY.attempts),
        ("status/404/v.mp4", 0, "gone: HTTPError: HTTP Error 404", 1),
        ("status/403/v.mp4", 0, "private: HTTPError: HTTP Error 403", 1),
    ):
        other = _Elsewhere(server.url(path), refusals)
        with Downloader(HASTY, [other]) as running:
            if said is None:
                assert running.fetch("elsewhere:v", tmp_path / "a").path.stat().st_size > 1000
            else:
                with pytest.raises(DownloadError, match=re.escape(said)):
                    running.fetch("elsewhere:v", tmp_path / "a")
        assert other.asked == asked, path


def test_local_files_where_they_are_allowed(tmp_path: Path) -> None:
    source = tmp_path / "ä b.mp4"
    source.write_bytes(b"x" * 10)
    with Downloader(replace(PATIENT, allow_local=True)) as local:
        for url in (str(source), source.as_uri()):
            assert local.fetch(url, tmp_path / "scratch").path.read_bytes() == b"x" * 10
        assert outcome(local, str(tmp_path / "none.mp4"), tmp_path) == "gone"


def test_user_info_becomes_a_header_and_not_a_message(
    server: FaultServer, downloader: Downloader, tmp_path: Path
) -> None:
    assert isinstance(outcome(downloader, server.url("auth/v.mp4", "me:hush"), tmp_path), Downloaded)
    with pytest.raises(DownloadError) as caught:
        downloader.fetch(server.url("status/403/v.mp4?token=hush", "me:hush"), tmp_path)
    assert "hush" not in str(caught.value)


def test_the_rate_limit_holds(server: FaultServer, tmp_path: Path) -> None:
    size = len(server.files["v.mp4"])
    with Downloader(replace(PATIENT, rate_limit=2 * size)) as slow:
        began = time.monotonic()
        slow.fetch(server.url("ok/v.mp4"), tmp_path)
    assert time.monotonic() - began > 0.4


# yt-dlp


@pytest.mark.parametrize("kind", ["video", "og"])
def test_a_page_with_a_video(kind: str, server: FaultServer, downloader: Downloader, tmp_path: Path) -> None:
    """The page is asked for twice, once to see what it is and once by the extractor; the file once."""
    path = f"page/{kind}/v.mp4"
    before, files = server.hits(path), server.hits("ok/v.mp4")
    got = downloader.fetch(server.url(path), tmp_path)
    assert got.path.read_bytes() == server.files["v.mp4"]
    assert got.info["title"].startswith("A page")
    assert got.page_url == server.url(path)
    assert server.hits(path) - before == 2
    assert server.hits("ok/v.mp4") - files == 1


@pytest.mark.parametrize(("height", "expected"), [(90, 90), (100, 180), (1080, 180)])
def test_a_playlist_by_height(height: int, expected: int, server: FaultServer, tmp_path: Path) -> None:
    with Downloader(replace(PATIENT, height=height)) as chooser:
        found = probe(chooser.fetch(server.url("folder/all.m3u8"), tmp_path).path)
    assert (found.height, found.container.split(",")[0], found.audio_codec) == (expected, "mov", "aac")
    assert found.duration_ms == pytest.approx(4000, abs=150)


def test_subtitles_come_in_the_wanted_languages(server: FaultServer, tmp_path: Path) -> None:
    with Downloader(replace(PATIENT, subtitle_languages=("en", "de"))) as reader:
        got = reader.fetch(server.url("folder/subtitled.html"), tmp_path)
    assert [(s.language, s.automatic, s.ext, s.text) for s in got.subtitles] == [("en", False, "vtt", VTT)]


def test_a_section_is_fetched_alone(server: FaultServer, downloader: Downloader, tmp_path: Path) -> None:
    got = downloader.fetch(server.url("folder/high.m3u8"), tmp_path, section=(2.0, 3.0))
    assert got.section_start_s == 2.0
    assert (probe(got.path, thorough=False).duration_ms or 0) < 2500


@pytest.mark.parametrize(
    ("path", "error_class"),
    [
        ("html/v.mp4", "corrupt"),
        ("html/page", "no_video"),
        ("status/404/page", "gone"),
        ("endlesspage/page", "too_large"),
        ("folder/live.m3u8", "unsupported"),
    ],
)
def test_pages_without_a_video(
    path: str, error_class: str, server: FaultServer, downloader: Downloader, tmp_path: Path
) -> None:
    assert outcome(downloader, server.url(path), tmp_path) == error_class


def children() -> set[int]:
    """Processes that this one has started and that still run."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ends meanwhile
            found.update(map(int, (task / "children").read_text().split()))
    return found


def test_a_page_that_never_ends_takes_its_process_with_it(server: FaultServer, tmp_path: Path) -> None:
    """The extractor is given a playlist (so that no plain request comes first) whose only segment stalls for ever."""
    before = children()
    with Downloader(replace(PATIENT, timeout_s=3, total_timeout_s=8, attempts=1)) as waiting:
        wait_until(lambda: outcome(waiting, server.url("folder/high.m3u8"), tmp_path / "warm") != "timeout")
        assert outcome(waiting, server.url("folder/stalled.m3u8"), tmp_path / "cold") == "timeout"
        assert children() == before


def test_closing_stops_what_is_under_way(server: FaultServer, tmp_path: Path) -> None:
    before = children()
    waiting = Downloader(replace(PATIENT, timeout_s=100))
    results: list[str | Downloaded] = []
    paths = ["mute/v.mp4", "folder/stalled.m3u8"]
    threads = [
        threading.Thread(target=lambda i=i, p=p: results.append(outcome(waiting, server.url(p), tmp_path / str(i))))
        for i, p in enumerate(paths)
    ]
    hits = server.hits("mute/v.mp4")
    for thread in threads:
        thread.start()
    wait_until(lambda: server.hits("mute/v.mp4") > hits)
    waiting.close()
    for thread in threads:
        thread.join(120)
    assert results == ["network", "network"]
    wait_until(lambda: children() <= before)


def test_an_extractor_that_a_signal_took_is_no_property_of_the_video(server: FaultServer, tmp_path: Path) -> None:
    """As the out-of-memory killer does it: every process of the pool is killed while it waits for a stalled segment."""
    before, stalled = children(), server.hits("drip/segment.ts")
    results: list[str | Downloaded] = []
    with Downloader(replace(PATIENT, timeout_s=100, attempts=1)) as waiting:
        thread = threading.Thread(
            target=lambda: results.append(outcome(waiting, server.url("folder/stalled.m3u8"), tmp_path / "v"))
        )
        thread.start()
        wait_until(lambda: server.hits("drip/segment.ts") > stalled)
        for process in children() - before:
            os.kill(process, signal.SIGKILL)
        thread.join(120)
    assert results == ["resource"]


def test_proxy_cookies_and_environment(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of fetching go through the proxy with the cookies; the cookies file is not written back."""
    cookies = tmp_path / "cookies.txt"
    text = "# Netscape HTTP Cookie File\nvideo.invalid\tFALSE\t/\tFALSE\t2147483647\tsession\thush\n"
    cookies.write_text(text)
    monkeypatch.setenv("TEST_PROXY", f"http://me:secret@127.0.0.1:{server.port}")
    options = replace(PATIENT, proxy="${TEST_PROXY}", cookies=str(cookies))
    with Downloader(options) as proxied:
        assert proxied.fetch("http://video.invalid/ok/v.mp4", tmp_path / "a").path.read_bytes() == server.files["v.mp4"]
        assert probe(proxied.fetch("http://video.invalid/folder/high.m3u8", tmp_path / "b").path).height == 180
    seen = [(p, h) for _, p, h in server.requests if p.startswith("http://video.invalid")]
    assert {p.rsplit("/", 1)[-1] for p, _ in seen} >= {"v.mp4", "high.m3u8", "high0.ts"}
    assert all("session=hush" in h.get("Cookie", "") and h["Proxy-Authorization"].startswith("Basic") for _, h in seen)
    assert cookies.read_text() == text
    monkeypatch.delenv("TEST_PROXY")
    with pytest.raises(ValueError, match="TEST_PROXY"):
        Downloader(options)
    with pytest.raises(ValueError, match=r"cookies\.txt"):
        Downloader(replace(PATIENT, cookies=str(tmp_path / "none.txt")))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"])
def test_private_addresses_are_refused_however_they_are_written(host: str, server: FaultServer, tmp_path: Path) -> None:
    before = len(server.requests)
    with Downloader(replace(PATIENT, allow_private=False)) as careful:
        for path in ("ok/v.mp4", "folder/high.m3u8"):
            with pytest.raises(DownloadError, match=r"this machine.*allow_private: true") as refused:
                careful.fetch(f"http://{host}:{server.port}/{path}", tmp_path)
            assert refused.value.error_class == "unsupported"
            assert refused.value.attempts == 1
    assert len(server.requests) == before


def test_a_redirect_to_a_private_address_is_refused(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's address counts as public for once; what it redirects to does not."""
    judge = addresses.not_public
    monkeypatch.setattr(addresses, "not_public", lambda a: None if a == "127.0.0.1" else judge(a))
    with Downloader(replace(PATIENT, allow_private=False)) as careful:
        assert careful.fetch(server.url("moved/301/v.mp4"), tmp_path).path.read_bytes() == server.files["v.mp4"]
        with pytest.raises(DownloadError, match=r"169\.254\.169\.254 is a link-local address"):
            careful.fetch(server.url("to/v.mp4?http://169.254.169.254/latest/v.mp4"), tmp_path)


@pytest.mark.parametrize("path", ["private.html", "private.m3u8"])
def test_what_pages_and_playlists_name_is_judged_too(path: str, server: FaultServer, tmp_path: Path) -> None:
    options = replace(PATIENT, allow_private=False, proxy=f"http://127.0.0.1:{server.port}")
    with Downloader(options) as careful, pytest.raises(DownloadError, match=r"127\.0\.0\.1.* this machine"):
        careful.fetch(f"http://video.invalid/folder/{path}", tmp_path)


def test_what_is_public_is_fetched_under_guard_by_all_that_fetch(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the operator's proxy, which stands for the network here: plainly, by yt-dlp, and by ffmpeg, which fetches sections."""
    monkeypatch.setenv("http_proxy", f"http://me:pw@127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "other.invalid")
    with Downloader(replace(PATIENT, allow_private=False)) as careful:
        assert careful.fetch("http://a.invalid/ok/v.mp4", tmp_path / "a").path.read_bytes() == server.files["v.mp4"]
        assert probe(careful.fetch("http://b.invalid/folder/high.m3u8", tmp_path / "b").path).height == 180
        cut = careful.fetch("http://c.invalid/folder/high.m3u8", tmp_path / "c", section=(1.0, 2.0))
        assert cut.section_start_s == 1.0
    seen = [(p.split("/")[2].partition(":")[0], h) for _, p, h in server.requests if p.startswith("http://")]
    assert {host for host, h in seen if "Proxy-Authorization" in h} >= {"a.invalid", "b.invalid", "c.invalid"}


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
        ),
        *("100.100.100.200", "168.63.129.16", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "198.18.0.1"),
        *("::1", "::", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "::ffff:10.0.0.1", "::7f00:1"),
        *("64:ff9b::a00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert addresses.not_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert addresses.not_public(address) is None


def test_nothing_is_read_or_written_at_home(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    plugins = home / ".config/yt-dlp/plugins/evil/yt_dlp_plugins/extractor"
    plugins.mkdir(parents=True)
    (plugins / "evil.py").write_text("raise SystemExit(1)")
    listing = sorted(os.walk(home))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    with Downloader(PATIENT) as homely:
        homely.fetch(server.url("page/video/v.mp4"), tmp_path / "scratch")
    assert sorted(os.walk(home)) == listing


# Scheduling


def test_concurrency_is_bounded_overall_and_per_group_and_a_busy_group_holds_up_nobody() -> None:
    active: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    lock = threading.Lock()
    quick_ones_are_done = threading.Event()
    done: Counter[str] = Counter()

    def work(job: tuple[str, int]) -> int:
        with lock:
            active[job[0]] += 1
            peak[job[0]] = max(peak[job[0]], active[job[0]])
            peak["all"] = max(peak["all"], sum(active.values()))
        if job[0] == "slow":
            assert quick_ones_are_done.wait(250), "the slow group held the others up"
        with lock:
            active[job[0]] -= 1
            done[job[0]] += 1
            if done["b"] + done["c"] == 12:
                quick_ones_are_done.set()
        return job[1] * 2

    jobs = [("slow", n) for n in range(12)] + [("b", n) for n in range(6)] + [("c", n) for n in range(6)]
    results = list(run_bounded(jobs, work, lambda j: j[0], concurrency=5, per_group=2))
    assert sorted(results) == sorted((j, j[1] * 2) for j in jobs)
    assert (peak["all"] <= 5, peak["slow"], peak["b"] <= 2) == (True, 2, True)


def test_an_error_of_the_work_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_bounded([1, 0], lambda n: 1 / n, lambda n: None, 2, 1))


@pytest.mark.parametrize(
    ("url", "suffix"),
    [
        ("http://h/a.MP4?x=.avi", "mp4"),
        ("http://h/a", ""),
        ("http://h/a%2Eb.webm", "webm"),
        ("http://h.mp4/", ""),
        ("http://[x/a.mp4", ""),
    ],
)
def test_url_suffix(url: str, suffix: str) -> None:
    assert url_suffix(url) == suffix


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/a/b.mp4", "/a/b.mp4"),
        ("file:///a/b%20c.mp4", "/a/b c.mp4"),
        ("~/x", "~/x"),
        ("http://h/a", None),
        ("abc", None),
        ("s3://b/k", None),
    ],
)
def test_local_path(url: str, path: str | None) -> None:
    assert local_path(url) == path
