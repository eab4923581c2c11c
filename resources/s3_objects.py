"""Objects on S3 by single requests: listing a folder, reading an end, asking what there is.

What belongs here: requests that fsspec has no words for, or makes more of than needed. What does not: writing (`s3_uploads.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def list_s3(fs: Any, name: str, deep: bool = False) -> tuple[dict[str, Any], list[str]]:
    """(name -> what the store says of the objects directly below a folder, names of the folders below it); with `deep`, of all objects
    below it by their paths from there. Never of s3fs's cache of listings, and without filling it: other runs write too."""
    objects: dict[str, Any] = {}
    folders: list[str] = []
    for found, below in pages_s3(fs, name, deep):
        objects |= found
        folders += below
    return objects, folders


def pages_s3(fs: Any, name: str, deep: bool = False) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """What `list_s3` gives, an answer of the store at a time."""
    bucket, prefix, _ = fs.split_path(name)
    start = f"{prefix.rstrip('/')}/" if prefix else ""
    where: dict[str, Any] = {"Bucket": bucket, "Prefix": start}
    where |= {} if deep else {"Delimiter": "/"}
    while True:
        answer = fs.call_s3("list_objects_v2", **where)
        objects = {e["Key"].removeprefix(start): e for e in answer.get("Contents", []) if not e["Key"].endswith("/")}
        yield objects, [p["Prefix"].rstrip("/").rsplit("/", 1)[-1] for p in answer.get("CommonPrefixes", [])]
        if not answer.get("IsTruncated"):
            return
        where["ContinuationToken"] = answer["NextContinuationToken"]


def tail_s3(fs: Any, name: str, size: int) -> tuple[bytes, int, str]:
    """See `Storage.tail`."""
    bucket, key, _ = fs.split_path(name)
    try:
        data, answer = _get(fs, Bucket=bucket, Key=key, Range=f"bytes=-{size}")
    except OSError as error:
        if status(error) != 416:  # an empty object has no last bytes
            raise
        data, answer = _get(fs, Bucket=bucket, Key=key)
    whole = str(answer.get("ContentRange", "")).rpartition("/")[2]
    return data[-size:], int(whole) if whole else len(data), str(answer["ETag"]).strip('"')


def read_s3(fs: Any, name: str) -> bytes:
    """A whole object, with one request."""
    bucket, key, _ = fs.split_path(name)
    return _get(fs, Bucket=bucket, Key=key)[0]


def _get(fs: Any, **where: Any) -> tuple[bytes, Any]:
    """Body and answer of a request, tried again when the body breaks off."""
    from fsspec.asyn import sync
    from s3fs.core import _error_wrapper

    async def get() -> tuple[bytes, Any]:
        answer = await fs._call_s3("get_object", **where)
        async with answer["Body"] as body:
            return await body.read(), answer

    return sync(fs.loop, _error_wrapper, get, retries=fs.retries)


def head_s3(fs: Any, name: str) -> Any:
    """What the store says of an object; None if there is none."""
    bucket, key, _ = fs.split_path(name)
    try:
        return fs.call_s3("head_object", Bucket=bucket, Key=key)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or status(error) == 404:
            return None
        raise


def s3_tag(fs: Any, name: str) -> str | None:
    """ETag of an object; None if there is none."""
    head = head_s3(fs, name)
    return None if head is None else str(head["ETag"]).strip('"')


def status(error: BaseException) -> int:
    """The HTTP status that an error of s3fs came from; 0 if it came from none."""
    cause: Any = error.__cause__ or error
    return int(getattr(cause, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
