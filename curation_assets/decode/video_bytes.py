"""What of `raw_shards` the stages depend on that read the videos themselves: the decode, scores of sound, tracks."""

from __future__ import annotations

import pyarrow as pa


def the_bytes(raw: pa.Table) -> pa.Table:
    """The bytes and the timed words of the videos, not where they lie or what a page says of them."""
    return raw.select(["dataset", "video_id", "status", "size", "sha256", "etag", "subtitles"])
