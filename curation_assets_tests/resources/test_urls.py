"""No secret of a URL passes `redact`, and what is no secret stays."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_resources.provenance import canonical_json
from curation_resources.urls import (
    HIDDEN,
    host_of,
    is_secret_key,
    public_settings,
    public_text,
    public_url,
    redact,
    redact_text,
    scheme_of,
)
from curation_resources.video_info import INFO_BYTES, clean_info

SECRET = "s3cr3tValue"
SIGNED = [
    f"https://user:{SECRET}@host.example/a.mp4",
    f"https://{SECRET}@host.example/a.mp4",
    f"https://bucket.s3.amazonaws.com/v.mp4?X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}&X-Amz-Security-Token={SECRET}",
    f"https://storage.googleapis.com/b/v.mp4?X-Goog-Signature={SECRET}&GoogleAccessId={SECRET}",
    f"https://account.blob.core.windows.net/c/v.mp4?sv=2024&sig={SECRET}",
    f"https://d1.cloudfront.net/v.mp4?Policy={SECRET}&Signature={SECRET}&Key-Pair-Id={SECRET}",
    f"https://r1.googlevideo.com/videoplayback?id=1&sig={SECRET}&lsig={SECRET}",
    f"https://cdn.example/hls/token={SECRET}/v.m3u8",
    f"https://cdn.example/v.mp4;jsessionid={SECRET}?a=1",
    f"https://cdn.example/v.mp4?hdnea=exp~acl~hmac&auth_token={SECRET}",
    f"https://cdn.example/v.mp4?a=1#access_token={SECRET}",
    f"https://proxy.example/get?u=https%3A%2F%2Fuser%3A{SECRET}%40host%2Fv.mp4",
    f"s3://key:{SECRET}@bucket/v.mp4",
    f"https://[broken/{SECRET}",
    f"/local/v.mp4?password={SECRET}",
]


@pytest.mark.parametrize("url", SIGNED)
def test_secrets_are_hidden_in_urls_and_in_texts_that_quote_them(url: str) -> None:
    assert SECRET not in redact(url)
    assert SECRET not in redact_text(f"Unable to open <{url}>: HTTP Error 403 (caused by '{url}')")


def test_what_is_no_secret_stays() -> None:
    url = "https://www.youtube.com/watch?v=dQw4w9WgXcQ&list=PL1&t=10s"
    assert redact(url) == url
    assert redact("https://host:8080/a%20b/ü.mp4?author=x&q=1+2") == "https://host:8080/a%20b/ü.mp4?author=x&q=1+2"


def test_headers_in_messages_are_hidden() -> None:
    text = redact_text(
        f"request failed\nCookie: sid={SECRET}; b=2\nAuthorization: Bearer {SECRET}\nstatus 500 token={SECRET}"
    )
    assert SECRET not in text
    assert "status 500" in text


@given(st.text(max_size=200))
def test_redaction_takes_any_text_and_is_stable(text: str) -> None:
    assert redact(redact(text)) == redact(text)
    assert len(redact_text(text, 100)) <= 100
    host_of(text), scheme_of(text)


def test_info_is_bounded_and_without_media_urls_headers_and_secrets() -> None:
    info = {
        "id": "x",
        "title": "kept",
        "key": "sample key, kept",
        "description": "see https://u:" + SECRET + "@h/x " + "long " * 50_000,
        "formats": [{"url": SECRET}],
        "url": SECRET,
        "http_headers": {"Cookie": SECRET},
        "cookies": SECRET,
        "nested": {"api_key": SECRET, "author": "kept", "score": float("nan")},
        "webpage_url": f"https://h/v?token={SECRET}",
        "tags": ["t" * 100] * 5_000,
    }
    cleaned = clean_info(info)
    text = canonical_json(cleaned)
    assert SECRET not in text
    assert len(text.encode()) <= INFO_BYTES
    assert cleaned["title"] == "kept"
    assert cleaned["key"] == "sample key, kept"
    assert cleaned["nested"] == {"author": "kept"}
    assert clean_info(cleaned) == cleaned


def test_tables_hold_urls_without_secrets_and_storage_names_as_they_are() -> None:
    assert public_url(f"https://u:{SECRET}@h/v.mp4?sig={SECRET}&t=1") == "https://h/v.mp4?sig=***&t=1"
    assert public_url(f"s3://key:{SECRET}@bucket/session=1/v.mp4") == "s3://bucket/session=1/v.mp4"
    for name in (
        "abfs://box@account.dfs.core.windows.net/key=1/v.mp4",
        "/data/token=7/v.mp4",
        "https://www.youtube.com/watch?v=-a_B0",
    ):
        assert public_url(name) == name
    assert (
        public_text(f"seen at https://h/x?token={SECRET} on token=day") == "seen at https://h/x?token=*** on token=day"
    )


def test_settings_keep_references_to_the_environment_and_no_password() -> None:
    kept = {"proxy": "http://${USER}:$PASS@proxy:8080", "fps": 2.0, "where": ["title = 'a://b'"], "cookies": None}
    assert public_settings(kept) == kept
    literal = {
        "path": [f"https://u:{SECRET}@h/list.csv", "s3://b/*.csv"],
        "deep": {"proxy": f"http://me:{SECRET}@proxy:1"},
    }
    assert public_settings(literal) == {
        "path": ["https://h/list.csv", "s3://b/*.csv"],
        "deep": {"proxy": "http://proxy:1"},
    }
    assert SECRET not in repr(public_settings({"a": f"https://$USER:{SECRET}@h/?token=${{TOKEN}}"}))


@given(st.text(max_size=200))
def test_public_urls_are_stable(text: str) -> None:
    assert public_url(public_url(text)) == public_url(text)


def test_a_line_break_in_a_name_hides_no_secret() -> None:
    assert redact("http://h/?a%0Atoken=very-secret&b=1") == f"http://h/?a%0Atoken={HIDDEN}&b=1"
    assert is_secret_key("a\napi_key")


def test_urls_nested_without_end_are_hidden_whole_from_some_depth_on() -> None:
    url = "s3://bucket/key?token=very-secret"
    for _ in range(12):
        url = f"http://h/?u={quote(url, safe='')}"
    assert "very-secret" not in redact(url)
    assert redact(url).endswith(HIDDEN)
