"""The full URLs of videos whose URL holds something secret, apart from the tables.

Tables that people read, copy and publish hold URLs as `curation_resources.urls.public_url` leaves them: without user and password, and with
`***` for signatures and tokens. What is needed to fetch such a video lies beside the index, in `dataset_index/secrets/<dataset>.parquet`,
a file that belongs to no asset: `dataset_index` writes it before it commits, `raw_shards` alone reads it, and it holds only rows
whose URL differs from the public one. On a local root only its owner may read it; on an object store, give that prefix a policy of
its own. A list that is signed anew changes this file and no table.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from curation_resources.storage import Storage
from curation_resources.urls import HIDDEN, public_url

FORM = pa.schema([("shard", pa.string()), ("video_id", pa.string()), ("url", pa.string())])
"""The side file: sorted by shard and video id."""
FOLDER = "dataset_index/secrets"


class MissingSecret(LookupError):
    """The full URL of a video is not there (any more)."""


def secrets_path(dataset: str) -> str:
    """Path of a dataset's side file, relative to the storage root."""
    return f"{FOLDER}/{dataset}.parquet"


def publish_secrets(storage: Storage, dataset: str, local: Path) -> None:
    """Puts a side file that was written locally in force, atomically."""
    with open(local, "rb") as source, storage.publish(secrets_path(dataset)) as target:
        os.fchmod(target.fileno(), 0o600)
        shutil.copyfileobj(source, target, 8 << 20)


def read_fetch_urls(storage: Storage, shard: str) -> dict[str, str]:
    """video_id -> full URL, of the shard's videos whose URL holds something secret.

    Only the row groups that may hold the shard are read.
    """
    path = secrets_path(shard.rpartition("-")[0])
    if storage.tag(path) is None:
        return {}
    fs, name = storage.filesystem(path)
    table = ds.dataset(name, format="parquet", filesystem=fs, schema=FORM).to_table(filter=ds.field("shard") == shard)
    return dict(zip(table["video_id"].to_pylist(), table["url"].to_pylist(), strict=True))


def fetch_url(public: str, full: str | None) -> str:
    """The URL to fetch for a table's `public` URL, with `full` from the side file.

    Raises:
        MissingSecret: the table's URL cannot be fetched as it stands, and the side file says nothing of it.
    """
    if full is not None and public_url(full) == public:
        return full
    if HIDDEN in public:
        raise MissingSecret(
            "the URL's secret part is not in the dataset's side file; materialize dataset_index, then video_metadata and raw_shards"
        )
    return public


def digest(urls: Mapping[str, str]) -> str:
    """What changes when any of the URLs does; '' for none."""
    hasher = hashlib.sha256()
    for video_id, url in sorted(urls.items()):
        hasher.update(f"{len(video_id)} {video_id} {len(url)} {url}\n".encode())
    return hasher.hexdigest()[:32] if urls else ""
