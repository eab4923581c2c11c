"""Objects on S3 by single requests: listing a folder, reading an end, putting an object on a condition.

`If-Match` and `If-None-Match` make a put fail if another run has put something there since. Some servers ignore them, so it is tried
once for each bucket whether they are heeded; where they are not, a look before the put has to do. What belongs here: requests that
fsspec has no words for, or makes more of than needed.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any, BinaryIO

from resources.replace import ANY, Expected, Superseded, check

log = logging.getLogger(__name__)
PART_BYTES = 128 << 20
"""Larger files are uploaded in parts of this size."""
WRITE_KEY = "curation-write"
"""Metadata of an object by which a writer knows its own, when the answer to its upload was lost and the upload was repeated."""
_heeded: dict[tuple[str, str], bool] = {}


def list_s3(fs: Any, name: str, deep: bool = False) -> tuple[dict[str, Any], list[str]]:
    """(name -> what the store says of the objects directly below a folder, names of the folders below it); with `deep`, of all objects
    below it by their paths from there. Never of s3fs's cache of listings, and without filling it: other runs write too."""
    bucket, prefix, _ = fs.split_path(name)
    start = f"{prefix.rstrip('/')}/" if prefix else ""
    where: dict[str, Any] = {"Bucket": bucket, "Prefix": start}
    where |= {} if deep else {"Delimiter": "/"}
    objects: dict[str, Any] = {}
    folders: list[str] = []
    while True:
        answer = fs.call_s3("list_objects_v2", **where)
        objects |= {e["Key"].removeprefix(start): e for e in answer.get("Contents", []) if not e["Key"].endswith("/")}
        folders += [p["Prefix"].rstrip("/").rsplit("/", 1)[-1] for p in answer.get("CommonPrefixes", [])]
        if not answer.get("IsTruncated"):
            return objects, folders
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


def put_s3(fs: Any, name: str, file: BinaryIO, expected: Expected, probe: str) -> str:
    """Uploads a file to S3 and returns its ETag.

    Args:
        fs: an `s3fs.S3FileSystem`.
        name: bucket/key.
        file: at its start.
        expected: what it may replace.
        probe: bucket/key of a small object by which it is tried whether the server heeds conditions.

    Raises:
        Superseded: something else is there now.
    """
    bucket, key, _ = fs.split_path(name)
    condition: dict[str, str] = {}
    if expected is not ANY:
        if _conditions(fs, probe):
            condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": f'"{expected}"'}
        else:
            check(f"s3://{name}", expected, s3_tag(fs, name))
    written = uuid.uuid4().hex
    where: dict[str, Any] = {"Bucket": bucket, "Key": key}
    try:
        first = file.read(PART_BYTES)
        if len(first) < PART_BYTES:
            answer = fs.call_s3("put_object", **where, Body=first, Metadata={WRITE_KEY: written}, **condition)
        else:
            answer = _put_parts(fs, where, first, file, written, condition)
        tag = str(answer["ETag"])
    except OSError as error:
        if not condition or status(error) not in (404, 409, 412):
            raise
        head = _head(fs, name)
        if head is None or head.get("Metadata", {}).get(WRITE_KEY) != written:
            raise Superseded(f"s3://{name} was written by another run in the meantime") from error
        tag = head["ETag"]  # the answer was lost, the upload was not
    fs.invalidate_cache(fs._parent(name))
    return tag.strip('"')


def _put_parts(
    fs: Any, where: dict[str, Any], block: bytes, file: BinaryIO, written: str, condition: dict[str, str]
) -> Any:
    upload = fs.call_s3("create_multipart_upload", **where, Metadata={WRITE_KEY: written})["UploadId"]
    try:
        parts: list[dict[str, Any]] = []
        while block:
            number = len(parts) + 1
            answer = fs.call_s3("upload_part", **where, UploadId=upload, PartNumber=number, Body=block)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            block = file.read(PART_BYTES)
        return fs.call_s3(
            "complete_multipart_upload", **where, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
        )
    except BaseException:
        fs.call_s3("abort_multipart_upload", **where, UploadId=upload)
        raise


def _head(fs: Any, name: str) -> Any:
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
    head = _head(fs, name)
    return None if head is None else str(head["ETag"]).strip('"')


def status(error: BaseException) -> int:
    """The HTTP status that an error of s3fs came from; 0 if it came from none."""
    cause: Any = error.__cause__ or error
    return int(getattr(cause, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _conditions(fs: Any, probe: str) -> bool:
    """Whether the server refuses to put an object where there is one, when it is asked to."""
    bucket, key, _ = fs.split_path(probe)
    which = (str(fs.client_kwargs.get("endpoint_url") or fs.endpoint_url), bucket)
    if which not in _heeded:
        _heeded[which] = False
        for _ in range(2):  # the first time ever, there is no object yet
            try:
                fs.call_s3("put_object", Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*")
            except OSError as error:
                if status(error) in (400, 501):
                    break
                if status(error) not in (409, 412):
                    _heeded.pop(which)
                    raise
                _heeded[which] = True
                break
        if not _heeded[which]:
            log.warning(
                "s3://%s does not heed If-None-Match: what two runs write in the same moment is not told apart", bucket
            )
    return _heeded[which]
