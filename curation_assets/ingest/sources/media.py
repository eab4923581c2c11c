"""Videos that already lie in storage: how rows refer to their bytes, and what is learned from the files beside them.

`extra` of such a row holds `path` (its `location`), `media`, `encodings` (by ending, what was assumed where a file does not say) and,
where there are any, `made_by` (the tool whose JSON lies beside the video: `video2dataset`; the row then has the address and the spans that it names),
`audio` and `sidecars`: references
`{"tar", "offset", "size", "etag"}` with the fields of `curation_resources.media.MediaRef`; `sidecars` maps an ending (`txt`, `json`,
`en.vtt`) to a reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curation_assets.ingest.sources.files import SourceFile
from curation_assets.ingest.sources.rows import RowError, SourceRow, clean_text, parse_object
from curation_assets.ingest.sources.video2dataset import MADE_BY, caption_of, is_sample, origin_of, spans_of
from curation_assets.ingest.text_encodings import text_of

CAPTION, INFO = "txt", "json"
SUBTITLES = frozenset({"vtt", "srt"})
SIDECARS = SUBTITLES | {CAPTION, INFO}
SIDECAR_BYTES = 4 << 20
"""A larger `.txt` or `.json` is referenced, but not looked into for a caption."""

Reference = dict[str, Any]


def reference(file: SourceFile, offset: int | None = None, size: int | None = None) -> Reference:
    """A reference to a file, or to a range of it."""
    return {"tar": file.uri, "offset": offset, "size": file.size if size is None else size, "etag": file.etag}


@dataclass(frozen=True)
class StoredFiles:
    """The files that belong to a video in storage.

    Attributes:
        media, audio: the video's bytes, and those of a separate audio file.
        sidecars: the other files of the same name, by ending.
        contents: bytes of the `txt` and `json` ones.
        names: what the files are called in messages, by ending.
    """

    media: Reference
    audio: Reference | None
    sidecars: Mapping[str, Reference]
    contents: Mapping[str, bytes]
    names: Mapping[str, str]


def stored_row(name: str, location: str, source: str, line: int, files: StoredFiles) -> SourceRow:
    """The row of a video in storage.

    Args:
        name: its id, if no other video of the dataset has the same.
        location: path relative to the source's root; for ever the same video.
        source, line: where it was found.
        files: the video and what lies beside it.

    Raises:
        EncodingError: a text whose encoding is not certain.
    """
    said = {ending: text_of(data, files.names[ending]) for ending, data in files.contents.items()}
    info = _info(said[INFO].text) if INFO in said else {}
    caption = clean_text(said[CAPTION].text) if CAPTION in said else None
    extra: dict[str, Any] = {"path": location, "media": files.media}
    assumed = {ending: text.assumed for ending, text in said.items() if text.assumed is not None}
    if assumed:
        extra["encodings"] = assumed
    if files.audio:
        extra["audio"] = files.audio
    if files.sidecars:
        extra["sidecars"] = files.sidecars
    sample = is_sample(info)
    origin = origin_of(info) if sample else None
    if sample:
        extra["made_by"] = MADE_BY
        caption = caption_of(info, caption)
    return SourceRow(
        name,
        origin or files.media["tar"],
        source,
        line,
        spans=spans_of(info) if sample else [],
        title=_text(info, "title"),
        caption=caption or _text(info, "caption"),
        licence=_text(info, "licence") or _text(info, "license"),
        extra=extra,
        location=location,
    )


def _info(text: str) -> dict[str, Any]:
    """What a `.json` beside a video says; nothing if it is no object, for it may be of any kind (cues, boxes)."""
    try:
        return parse_object(text.encode())
    except RowError:
        return {}


def _text(info: dict[str, Any], key: str) -> str | None:
    value = info.get(key)
    if value is None:
        nested = info.get("yt_meta_dict")
        inner = nested.get("info") if isinstance(nested, dict) else None
        value = inner.get(key) if isinstance(inner, dict) else None
    return clean_text(value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False))
