"""Uploads to S3 that know their own objects: an answer that was lost is told from another run that came first.

A client that gets no answer asks again. If the first request had been carried out, the second is refused: the object is there already
(`If-None-Match`), is another by now (`If-Match`), or the upload in parts is finished and gone. So each upload puts a word of its own
into the object's metadata, and whoever is refused looks whether it is there.

Some servers ignore conditions, so it is tried once for each bucket whether they are heeded; where they are not, a look before the put
has to do. What belongs here: writing objects. What does not: when
(`storage.py`), and reading them (`s3_objects.py`).
"""

from __future__ import annotations

import logging
import shutil
import uuid
from types import TracebackType
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError

from curation_resources.replace import ANY, Expected, Superseded, check
from curation_resources.s3_objects import head_s3, s3_tag, status

log = logging.getLogger(__name__)
WRITE_KEY = "curation-write"
"""Metadata of an object by which a writer knows its own."""
FAILURES = (OSError, BotoCoreError)
"""What a request ends with that was refused, or that got no answer however often it was tried."""
_heeded: dict[tuple[str, str], bool] = {}


class S3Upload:
    """A file that becomes an object when it is closed: with one request, or in parts if it is larger than one.

    Args:
        fs: an `s3fs.S3FileSystem`; its block size (50 MiB unless set) is the size of parts.
        name: bucket/key.
        condition: `IfMatch` or `IfNoneMatch` of the request that makes the object visible.

    Attributes:
        tag: ETag of the object once it is closed.

    After a failure the upload is aborted, and nothing becomes visible.
    """

    def __init__(self, fs: Any, name: str, condition: dict[str, str] | None = None) -> None:
        self._fs, self._name, self._condition = fs, name, condition or {}
        bucket, key, _ = fs.split_path(name)
        self._where: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self._written = {WRITE_KEY: uuid.uuid4().hex}
        self._part_bytes = int(fs.default_block_size)
        self._buffer = bytearray()
        self._parts: list[dict[str, Any]] = []
        self._upload: str | None = None
        self._failure: BaseException | None = None
        self.closed = False
        self.tag = ""

    def __enter__(self) -> S3Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.discard(error)
        self.close()

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing: parts are sent when they are full."""

    def write(self, data: bytes) -> int:
        if self._failure is not None:
            raise OSError(f"s3://{self._name} is not written: {self._failure}") from self._failure
        self._buffer += data
        try:
            while len(self._buffer) > self._part_bytes:
                self._send(bytes(self._buffer[: self._part_bytes]))
                del self._buffer[: self._part_bytes]
        except BaseException as error:
            self.discard(error)
            raise
        return len(data)

    def _send(self, part: bytes) -> None:
        """Sends a part of an upload, which begins with the first."""
        if self._upload is None:
            answer = self._fs.call_s3("create_multipart_upload", **self._where, Metadata=self._written)
            self._upload = str(answer["UploadId"])
        number = len(self._parts) + 1
        answer = self._fs.call_s3("upload_part", **self._where, UploadId=self._upload, PartNumber=number, Body=part)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    def close(self) -> None:
        """Makes the object visible; nothing after a failure, or when it is closed already.

        Raises:
            Superseded: the condition does not hold.
        """
        if self.closed:
            return
        self.closed = True
        if self._failure is not None:
            return
        try:
            if self._upload is None:
                put = {"Body": bytes(self._buffer), "Metadata": self._written}
                answer = self._last("put_object", **put)
            else:
                self._send(bytes(self._buffer))
                parts = {"UploadId": self._upload, "MultipartUpload": {"Parts": self._parts}}
                answer = self._last("complete_multipart_upload", **parts)
        except BaseException as error:
            self.discard(error)
            raise
        self.tag = str(answer["ETag"]).strip('"')
        self._buffer.clear()
        self._fs.invalidate_cache(self._fs._parent(self._name))

    def _last(self, request: str, **what: Any) -> Any:
        """The request that makes the object visible. Its answer, or what the store says of the object if it was put all the same."""
        try:
            return self._fs.call_s3(request, **self._where, **what, **self._condition)
        except FAILURES as error:
            head = head_s3(self._fs, self._name)
            if head is not None and head.get("Metadata", {}).get(WRITE_KEY) == self._written[WRITE_KEY]:
                return head
            if self._condition and status(error) in (404, 409, 412):
                raise Superseded(f"s3://{self._name} was written by another run in the meantime") from error
            raise

    def discard(self, why: BaseException) -> None:
        """Gives the upload up. An abort that gets no answer is left to the sweep of the next run."""
        self._failure = self._failure or why
        self._buffer.clear()
        upload, self._upload = self._upload, None
        if upload is not None:
            try:
                self._fs.call_s3("abort_multipart_upload", **self._where, UploadId=upload)
            except FAILURES as error:
                log.info("s3://%s: an unfinished upload could not be aborted: %s", self._name, error)


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
    condition: dict[str, str] = {}
    if expected is not ANY:
        if _conditions(fs, probe):
            condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": f'"{expected}"'}
        else:
            check(f"s3://{name}", expected, s3_tag(fs, name))
    with S3Upload(fs, name, condition) as upload:
        shutil.copyfileobj(file, cast(BinaryIO, upload), 8 << 20)
    return upload.tag


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
