"""yt-dlp's own words, as its extractors raise them, and the class that each belongs to."""

from __future__ import annotations

import pytest

from curation_assets.ingest.error_classes import ERROR_CLASSES, TRANSIENT_ERRORS
from curation_resources.download_errors import (
    MESSAGES,
    TRANSIENT,
    DownloadError,
    classify_message,
    http_class,
    shorten_message,
)

QUOTES = [
    (
        "bot_check",
        "ERROR: [youtube] abc: Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies for the authentication",
    ),
    (
        "bot_check",
        "Got HTTP Error 403 caused by Cloudflare anti-bot challenge; see https://github.com/yt-dlp/yt-dlp#impersonation",
    ),
    ("rate_limited", "ERROR: unable to download webpage: HTTP Error 429: Too Many Requests"),
    (
        "rate_limited",
        "[youtube] abc: Video unavailable. This content isn't available, try again later. The current session has been rate-limited by YouTube",
    ),
    ("age", "[youtube] abc: Sign in to confirm your age. This video may be inappropriate for some users."),
    ("geo", "[youtube] abc: Video unavailable. The uploader has not made this video available in your country"),
    ("geo", "This video is not available from your location due to geo restriction"),
    ("private", "[youtube] abc: Private video. Sign in if you've been granted access to this video"),
    ("private", "[youtube] abc: Join this channel to get access to members-only content like this video"),
    ("private", "[youtube] abc: This video requires payment to watch"),
    ("private", "[vimeo] 1: This video is only available for registered users. Use --username and --password"),
    ("private", "unable to download webpage: HTTP Error 403: Forbidden (caused by <HTTPError 403: Forbidden>)"),
    ("gone", "[youtube] abc: Video unavailable"),
    (
        "gone",
        "[youtube] abc: Video unavailable. This video is no longer available because the YouTube account associated with this video has been terminated.",
    ),
    ("gone", "[youtube] abc: Video unavailable. This video has been removed by the uploader"),
    (
        "gone",
        "[youtube] abc: Video unavailable. This video contains content from X, who has blocked it on copyright grounds",
    ),
    ("gone", "[dailymotion] x: Unable to download JSON metadata: HTTP Error 404: Not Found"),
    ("no_video", "[generic] x: Unsupported URL: http://example.com"),
    ("no_video", "[twitter] 1: No video could be found in this tweet"),
    ("no_video", "[instagram] x: There is no video in this post"),
    ("no_video", "[x] No video formats found!; please report this issue on https://github.com/yt-dlp/yt-dlp/issues"),
    ("unsupported", "[netflix] This video is DRM protected"),
    ("unsupported", "[youtube] abc: This live event will begin in 3 days."),
    ("unsupported", "[youtube] abc: Premieres in 2 hours"),
    ("network", "unable to download video data: HTTP Error 403: Forbidden"),
    ("network", "Unable to download webpage: HTTP Error 503: Service Unavailable"),
    (
        "network",
        "Unable to download API page: ('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))",
    ),
    ("network", "Failed to resolve 'host.invalid' ([Errno -2] Name or service not known)"),
    ("network", "12000 bytes read, 40000 more expected. Giving up after 2 retries"),
    (
        "timeout",
        "Unable to download webpage: HTTPSConnectionPool(host='h', port=443): Read timed out. (read timeout=20.0)",
    ),
    ("storage", "unable to write data: [Errno 28] No space left on device"),
    ("corrupt", "Postprocessing: Conversion failed!"),
    ("unsupported", "[x] Failed to parse JSON; please report this issue on https://github.com/yt-dlp/yt-dlp/issues"),
]


@pytest.mark.parametrize(("error_class", "message"), QUOTES)
def test_messages(error_class: str, message: str) -> None:
    assert classify_message(message) == error_class


def test_the_classes_are_those_of_the_table() -> None:
    assert {name for name, _ in MESSAGES} <= set(ERROR_CLASSES)
    assert TRANSIENT == TRANSIENT_ERRORS


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (401, "private"),
        (403, "private"),
        (404, "gone"),
        (410, "gone"),
        (429, "rate_limited"),
        (451, "geo"),
        (500, "network"),
        (418, "unsupported"),
    ],
)
def test_statuses(status: int, error_class: str) -> None:
    assert http_class(status) == error_class


def test_a_message_is_one_line_without_advice_colours_or_secrets() -> None:
    said = "\x1b[0;31mERROR:\x1b[0m [youtube] abc: Boom at https://u:pw@h/x?sig=SECRET; please report this issue on https://x  ."
    error = DownloadError("network", shorten_message(said) + "\nsecond line")
    assert error.message == "abc: Boom at https://h/x?sig=*** second line"
