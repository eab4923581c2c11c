"""Tar shards: webdataset-readable tars that roll at a size, hold only complete samples, and are addressed by byte range.

A tar's name begins with a token that is new for every write, so a tar that a table names is never written again.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from curation_resources.storage import Storage
from curation_resources.used_keys import UsedKeys

TAR_BLOCK = 512
MAX_KEY = 100


@dataclass(frozen=True)
class Member:
    """Where the bytes of one member lie: tar path relative to the storage root, first byte, number of bytes, their SHA-256."""

    tar: str
    offset: int
    size: int
    sha256: str


def sample_key(identifier: str) -> str:
    """The key of a sample inside a tar: ASCII, no dots, at most 100 characters, one-to-one.

    Characters outside ``[A-Za-z0-9_-]`` become ``_`` and a hash is appended when anything was replaced, shortened, or could be read as
    a hidden file or an option.
    """
    key = re.sub(r"[^A-Za-z0-9_-]", "_", identifier)
    if key == identifier and 0 < len(key) <= MAX_KEY:
        return key
    digest = hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{key[: MAX_KEY - 13]}-{digest}"


def new_token() -> str:
    """A token for the tars of one write."""
    return uuid.uuid4().hex[:12]


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


_PLAIN = bytearray(_header("", 0))
_PLAIN[148:156] = b" " * 8
_PLAIN_SUM = sum(_PLAIN) - 11 * ord("0")
"""The header of a nameless, empty member, and its sum without the digits of its size: the checksum's own place counts as blanks (POSIX ustar)."""


def member_header(name: str, size: int) -> bytes:
    """The header of a member as `tarfile` makes it, at a tenth of the cost for a short plain name and a size below 8 GiB."""
    if len(name) > 100 or not name.isascii() or "\0" in name or not 0 <= size < 1 << 33:
        return _header(name, size)
    header, text, digits = bytearray(_PLAIN), name.encode(), b"%011o" % size
    header[: len(text)], header[124:135] = text, digits
    header[148:156] = b"%06o\0 " % (_PLAIN_SUM + sum(text) + sum(digits))
    return bytes(header)


class TarWriter:
    """Writes samples into `<folder>/<token>-<nnnnn>.tar`.

    A sample's members stand side by side under one key and a sample never spans two tars. A tar is closed when it has reached
    `tar_bytes`, so it is larger by at most one sample.

    Args:
        storage: where the tars go.
        folder: relative to the storage root.
        token: name prefix of this write, from `new_token`.
        tar_bytes: size at which a tar is closed.
        durable: whether a tar is flushed to disk when it is closed; not needed where it is copied from there.
        keys: of all samples among which keys must differ, where these are more than this writer's; whoever gives them closes them.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        token: str,
        tar_bytes: int = 1_000_000_000,
        durable: bool = True,
        keys: UsedKeys | None = None,
    ) -> None:
        self.storage, self.folder, self.token, self.tar_bytes = storage, folder.rstrip("/"), token, tar_bytes
        self._durable = durable
        self.tars: list[str] = []
        self._file: BinaryIO | None = None
        self._at = 0
        self._shared, self._keys = keys is not None, keys or UsedKeys()

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bytes_in_tar(self) -> int:
        """Bytes written to the tar that is open now; 0 if none is."""
        return self._at if self._file is not None else 0

    def add(self, key: str, members: Mapping[str, bytes | BinaryIO]) -> dict[str, Member]:
        """Appends one sample.

        Args:
            key: from `sample_key`; must be new to this writer.
            members: extension ("mp4", "json") to bytes or a stream at its start.

        Returns:
            extension -> where its bytes lie.
        """
        with self.storage.writing(self.tars[-1] if self._file else self.folder):
            return self._add(key, members)

    def _add(self, key: str, members: Mapping[str, bytes | BinaryIO]) -> dict[str, Member]:
        self._keys.add(key)
        if self._file is None:
            self._open()
        written = {extension: self._member(f"{key}.{extension}", content) for extension, content in members.items()}
        if self._at >= self.tar_bytes:
            self.roll()
        return written

    def roll(self) -> None:
        """Closes the open tar, so that it is complete and durable; the next sample begins another."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with self.storage.writing(self.tars[-1]), closing(file):
            file.write(b"\0" * (2 * TAR_BLOCK))
            if self._durable and self.storage.is_local:
                file.flush()
                os.fsync(file.fileno())

    def close(self) -> None:
        self.roll()
        if not self._shared:
            self._keys.close()

    def _open(self) -> None:
        name = f"{self.folder}/{self.token}-{len(self.tars):05d}.tar"
        self.tars.append(name)
        self._file, self._at = self.storage.open(name, "wb"), 0

    def _member(self, name: str, content: bytes | BinaryIO) -> Member:
        assert self._file is not None
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        header = member_header(name, size)
        self._file.write(header)
        offset, digest, left = self._at + len(header), hashlib.sha256(), size
        while left and (block := stream.read(min(left, 8 << 20))):
            self._file.write(block)
            digest.update(block)
            left -= len(block)
        if left:
            raise OSError(f"{name}: the content ended {left} bytes early while it was written to {self.tars[-1]}")
        padding = -size % TAR_BLOCK
        self._file.write(b"\0" * padding)
        self._at = offset + size + padding
        return Member(self.tars[-1], offset, size, digest.hexdigest())
