"""Tars written anew without the members of some samples."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator

from curation_resources.storage import Storage
from curation_resources.tars import TAR_BLOCK


def key_of(member: str) -> str:
    """The sample that a member of a tar belongs to."""
    return member.rsplit("/", 1)[-1].split(".", 1)[0]


def members(storage: Storage, path: str) -> Iterator[tarfile.TarInfo]:
    """Headers of a tar's members; of remote tars only the blocks that hold them are read."""
    with storage.open(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        yield from tar


def rewrite_tar(
    storage: Storage, path: str, target: str, drop: Callable[[tarfile.TarInfo], bool]
) -> dict[int, int] | None:
    """Writes a tar without some samples: all members of a sample of which `drop` names one go.

    Returns:
        Offset before -> offset after of the members that stay; None if none is to go, and then nothing is written. Nothing is written
        either if none stays.
    """
    found = list(members(storage, path))
    keys = {key_of(m.name) for m in found if drop(m)}
    if not keys:
        return None
    kept = [m for m in found if key_of(m.name) not in keys]
    moved: dict[int, int] = {}
    at = 0
    ranges: list[tuple[int, int]] = []
    for m in kept:
        end = m.offset_data + -(-m.size // TAR_BLOCK) * TAR_BLOCK
        moved[m.offset_data] = at + m.offset_data - m.offset
        at += end - m.offset
        ranges.append((m.offset, end))
    if kept:
        with storage.open(path) as source, storage.publish(target) as out:
            for start, end in ranges:
                source.seek(start)
                left = end - start
                while left:
                    block = source.read(min(left, 8 << 20))
                    if not block:
                        raise OSError(f"{path} ends within a member")
                    out.write(block)
                    left -= len(block)
            out.write(b"\0" * (2 * TAR_BLOCK))
    return moved
