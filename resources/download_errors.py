"""Why a video could not be had: one exception type, and the tables that turn HTTP answers and yt-dlp's messages into classes.

The classes are those of the `raw_shards` table. Transient ones are tried again, within a run and by the next run; the others are
answers that stay what they are.
"""

from __future__ import annotations

import re

from curation_resources.urls import redact_text

TRANSIENT = frozenset({"bot_check", "rate_limited", "network", "timeout", "storage", "resource"})
STOPPED = "the download was stopped before it was done"


class DownloadError(Exception):
    """A video that could not be fetched or is none.

    Attributes:
        error_class: gone, private, geo, age, bot_check, rate_limited, network, timeout, too_large, unsupported, corrupt, no_video,
            storage or resource.
        message: one sentence without secrets.
        transient: whether another attempt may succeed.
        retry_after_s: how long the server asked to wait, seconds.
        attempts: attempts that were made.
    """

    def __init__(
        self, error_class: str, message: str, transient: bool | None = None, retry_after_s: float | None = None
    ) -> None:
        self.error_class = error_class
        self.message = redact_text(" ".join(message.split()))
        self.transient = error_class in TRANSIENT if transient is None else transient
        self.retry_after_s = retry_after_s
        self.attempts = 1
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.error_class}: {self.message}"


HTTP_CLASSES = {
    401: "private",
    402: "private",
    403: "private",
    404: "gone",
    407: "network",
    408: "timeout",
    410: "gone",
    425: "network",
    429: "rate_limited",
    451: "geo",
}
"""Class of a status that ends a plain download. Others: 5xx is `network`, the rest `unsupported`."""


def http_class(status: int) -> str:
    """Class of an HTTP status that is no success."""
    return HTTP_CLASSES.get(status, "network" if status >= 500 else "unsupported")


MESSAGES: tuple[tuple[str, str], ...] = (
    # What the platform wants to know about the caller comes first: such messages often also say "sign in" or "unavailable".
    ("bot_check", r"not a bot|captcha|unusual traffic|anti-bot|cf-mitigated|cloudflare"),
    ("rate_limited", r"http error 429|too many requests|rate.?limit|try again later"),
    (
        "age",
        r"age.?restrict|age.?gate|confirm your age|verify your age|age verification|inappropriate for some users|mature content",
    ),
    ("geo", r"your (country|location|region)|geo.?restrict|geo.?block|http error 451"),
    # A media URL that the extractor has just been given and that is refused has expired or is throttled: the next page has another.
    ("network", r"unable to download video data: http error 403|fragment .{0,200}http error 403"),
    (
        "private",
        r"private video|video is private|is private|members.?only|join this channel|requires? payment|rent(al)? this|purchase|paid "
        r"(content|video)|premium|subscri(ber|ption)|log ?in|sign in|registered users|password|http error 40[123]|authenticat",
    ),
    ("unsupported", r"\bdrm\b|drm.?protected"),
    (
        "no_video",
        r"no video formats|no video could be found|there is no video|no media found|no suitable (formats|extractor)|unsupported url(?! scheme)",
    ),
    (
        "no_video",
        r"requested format is not available|only images are available|audio only|unable to extract.{0,200}(video url|player config)",
    ),
    (
        "unsupported",
        r"premieres? in|live event will begin|is live|not yet (aired|available)|offline|not a valid url|unsupported url scheme",
    ),
    (
        "gone",
        r"http error 4(04|10)|no longer available|been removed|was removed|removed by|been deleted|deleted by|does not exist|doesn't exist|not exist"
        r"|account.{0,200}(terminated|closed|suspended)|video unavailable|video.{0,200}(is|isn't|not) (un)?available|this content isn't available|copyright|not found",
    ),
    ("timeout", r"timed? ?out|timeout"),
    (
        "network",
        r"http error 5\d\d|http error 4(08|25)|connection|remote end closed|resolve|name or service|ssl|certificate|incomplete ?read|"
        r"bytes read|more expected|did not get any data|content too short|broken pipe|network|proxy|unreachable|giving up after|temporar|ffmpeg exited",
    ),
    ("storage", r"no space left|unable to write|unable to open for writing|read-only file system"),
    ("corrupt", r"conversion failed|postprocessing|invalid data found|moov atom|unable to rename|empty file"),
)
"""(class, pattern) in order; the first pattern found in yt-dlp's message, in lower case, decides. The tests quote real messages."""

_MESSAGES = tuple((name, re.compile(pattern)) for name, pattern in MESSAGES)
_PREFIX = re.compile(r"^(ERROR:\s*)?(\[[\w:+.-]+\]\s*)?", re.IGNORECASE)
_ADVICE = re.compile(
    r"(;\s*)?(please report this issue on|see\s+https?://|use --|confirm you are on the latest version|also see|\(caused by).*$",
    re.IGNORECASE | re.DOTALL,
)


def classify_message(message: str) -> str:
    """Class of a yt-dlp message; `unsupported` if nothing in it is known."""
    lowered = message.lower().replace("’", "'")
    return next((name for name, pattern in _MESSAGES if pattern.search(lowered)), "unsupported")


def shorten_message(message: str) -> str:
    """yt-dlp's message without its prefixes, terminal colours and advice to the user of its command line."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", message)
    return _ADVICE.sub("", _PREFIX.sub("", message)).strip(" .;,") or "the extractor failed without saying why"
