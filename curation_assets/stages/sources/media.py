"""Videos that already lie in storage: how rows refer to their bytes, and what is learned from the files beside them.

`extra` of such a row holds `path` (its `location`), `media` and, where there are any, `audio` and `sidecars`: references
`{"tar", "offset", "size", "etag"}` with the fields of `resources.storage.MediaRef`; `sidecars` maps an ending (`txt`, `json`,
`en.vtt`) to a reference.
"""

from __future__ import annotations

import json
from typing import Any

from curation_assets.stages.sources.files import SourceFile
from curation_assets.stages.sources.rows import RowError, SourceRow, clean_text, parse_object

CAPTION, INFO = "txt", "json"
SUBTITLES = frozenset({"vtt", "srt"})
SIDECARS = SUBTITLES | {CAPTION, INFO}
SIDECAR_BYTES = 4 << 20
"""A larger `.txt` or `.json` is referenced, but not looked into for a caption."""

Reference = dict[str, Any]


def reference(file: SourceFile, offset: int | None = None, size: int | None = None) -> Reference:
    """A reference to a file, or to a range of it."""
    return {"tar": file.uri, "offset": offset, "size": file.size if size is None else size, "etag": file.etag}


def stored_row(
    name: str,
    location: str,
    source: str,
    line: int,
    media: Reference,
    audio: Reference | None,
    sidecars: dict[str, Reference],
    contents: dict[str, bytes],
) -> SourceRow:
    """The row of a video in storage.

    Args:
        name: its id, if no other video of the dataset has the same.
        location: path relative to the source's root; for ever the same video.
        source, line: where it was found.
        media, audio: the video's bytes, and those of a separate audio file.
        sidecars: the other files of the same name, by ending.
        contents: bytes of the `txt` and `json` ones.
    """
    info = _info(contents.get(INFO))
    caption = clean_text(contents[CAPTION].decode("utf-8", "replace")) if CAPTION in contents else None
    extra: dict[str, Any] = {"path": location, "media": media}
    if audio:
        extra["audio"] = audio
    if sidecars:
        extra["sidecars"] = sidecars
    return SourceRow(
        name,
        media["tar"],
        source,
        line,
        title=_text(info, "title"),
        caption=caption or _text(info, "caption"),
        licence=_text(info, "licence") or _text(info, "license"),
        extra=extra,
        location=location,
    )


def _info(data: bytes | None) -> dict[str, Any]:
    """What a `.json` beside a video says; nothing if it is no object, for it may be of any kind (cues, boxes)."""
    if data is None:
        return {}
    try:
        return parse_object(data)
    except RowError:
        return {}


def _text(info: dict[str, Any], key: str) -> str | None:
    value = info.get(key)
    if value is None:
        nested = info.get("yt_meta_dict")
        inner = nested.get("info") if isinstance(nested, dict) else None
        value = inner.get(key) if isinstance(inner, dict) else None
    return clean_text(value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False))
