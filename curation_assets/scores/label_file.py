"""The file in which people's labels of clips are kept, JSON lines: which clip, which label, whether it holds, who said so, when.

It is written by adding lines, and the last one about a clip and label counts, so that nothing that was said is lost, two people may write at once, and it can lie
beside the recipe under version control. What belongs here: the file. What does not: the table that is made of it (`labels.py`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from curation_resources.replace import Superseded
from curation_resources.s3 import options_of_named_file
from curation_resources.storage import Storage

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""What a label may be called: a word that rules can name."""
TRIES = 8
"""Times that a file in a bucket is read and put again because somebody else has put it meanwhile."""


class LabelError(ValueError):
    """A file of labels that cannot be used, or a label that cannot be given; the message names the file and the line."""


@dataclass(frozen=True)
class Said:
    """What somebody said of a clip.

    Attributes:
        clip: its id.
        label: of the form `NAME`.
        holds: whether the label holds; false takes it back.
        who, when: who said it, and when: ISO 8601, UTC.
    """

    clip: str
    label: str
    holds: bool
    who: str = ""
    when: str = ""


Labels = Mapping[str, Mapping[str, Said]]
"""Clip -> label that holds -> what was said."""


class LabelFile:
    """A file of labels.

    Args:
        location: a path or URI; it need not be there yet.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._storage, self._name = _place(location)

    def identity(self) -> str:
        """Hash of what it says: that of nothing where it is not there."""
        return _read(self.location, self._tag())[1]

    def labels(self) -> Labels:
        """The labels that hold.

        Raises:
            LabelError: a line cannot be read.
        """
        return _read(self.location, self._tag())[0]

    def add(self, said: Sequence[Said]) -> None:
        """Adds lines.

        Raises:
            LabelError: a label has a name that rules cannot name.
        """
        for one in said:
            if not NAME.fullmatch(one.label):
                raise LabelError(
                    f"a label is a word of a-z, 0-9 and _ that begins with a letter, not {one.label[:40]!r}"
                )
        data = b"".join(json.dumps(asdict(one), ensure_ascii=False).encode() + b"\n" for one in said)
        if "://" in self.location:
            self._put(data)
        else:
            self._append(data)

    def _append(self, data: bytes) -> None:
        path = Path(self.location)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", buffering=0) as file:
            with suppress(OSError):  # where files cannot be locked, lines are still added by one write
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            begun = file.readall().rpartition(b"\n")[2]
            if begun and not _is_whole(begun):
                file.truncate(file.seek(0, os.SEEK_END) - len(begun))
                begun = b""
            os.write(file.fileno(), (b"\n" if begun else b"") + data)
            os.fsync(file.fileno())

    def _put(self, data: bytes) -> None:
        for left in reversed(range(TRIES)):
            tag = self._tag()
            whole = (self._storage.read(self._name) if tag is not None else b"") + data
            try:
                self._storage.replace(self._name, lambda file, whole=whole: file.write(whole) and None, tag)  # type: ignore[misc]
            except Superseded:
                if not left:
                    raise
            else:
                return

    def _tag(self) -> str | None:
        return self._storage.tag(self._name)


def _place(location: str) -> tuple[Storage, str]:
    """The folder or bucket of a file, reached as the settings say, and its name there."""
    folder, _, name = location.rpartition("/")
    return Storage(folder or ".", options_of_named_file(location)), name


def _is_whole(line: bytes) -> bool:
    """Whether a last line without its end is one that an editor left so; else it was begun by somebody who was interrupted."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@lru_cache(maxsize=16)
def _read(location: str, tag: str | None) -> tuple[Labels, str]:
    """What a file says, and the hash of that; `tag` is another once it says something else."""
    if tag is None:
        data = b""
    else:
        storage, name = _place(location)
        data = storage.read(name)
    found: dict[str, dict[str, Said]] = {}
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = Said(**json.loads(line))
            if not (isinstance(one.clip, str) and isinstance(one.holds, bool) and NAME.fullmatch(one.label)):
                raise TypeError
        except (ValueError, TypeError) as error:
            if number == len(lines) and not data.endswith(b"\n"):
                break  # somebody is writing it, or was interrupted: it was never said
            raise LabelError(
                f'{location} line {number}: not a label; one is {{"clip": ID, "label": WORD, "holds": true, "who": NAME, "when": TIME}}'
            ) from error
        own = found.setdefault(one.clip, {})
        own.pop(one.label, None)
        if one.holds:
            own[one.label] = one
    said = sorted((clip, label) for clip, own in found.items() for label in own)
    return found, hashlib.sha256(json.dumps(said).encode()).hexdigest() if said else ""
