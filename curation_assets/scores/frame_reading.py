"""Stored frames as a model takes them: from the input that the decode kept beside each, else from its picture.

What belongs here: which bytes are read, reading, checking and decoding them. What does not: how far ahead (`frame_feed.py`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.contracts.tables import BESIDE
from curation_resources.faults import STORAGE, Fault, fault_of
from curation_resources.media import MediaRef
from curation_resources.model_input import Fit, Pixels, decoded
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS, StorageError

if TYPE_CHECKING:
    from PIL import Image

    from curation_resources.clip_model import ClipModel

COLUMNS = ("tar", "offset", "size", "sha256", BESIDE)
"""Of `frames`: what reading takes."""
Problem = str | Fault
"""Why a frame cannot be had: for good, or now."""
GAP_BYTES, RANGE_BYTES = 128 << 10, 8 << 20
"""Places that lie no further apart are read in one range, of at most so many bytes: what lies between costs less than another call, or request."""


class Place(NamedTuple):
    """Where a frame is read.

    Attributes:
        tar, offset, size, sha256: the bytes.
        form: the format of an input that fits the model; None for the stored picture, which is fitted when it is read.
    """

    tar: str
    offset: int
    size: int
    sha256: str | None
    form: str | None


def places_of(frames: pa.Table, fit: Fit | None) -> list[Place]:
    """Where the rows of `frames` are read for a model that takes pictures by `fit`: its kept input, a lossless one first, else the picture."""
    frames = frames.select(list(COLUMNS)).combine_chunks()
    tars, offsets, sizes, hashes = (frames[name].to_pylist() for name in COLUMNS[:-1])
    places = [
        Place(tar or "", offset or 0, size or 0, sha256, None)
        for tar, offset, size, sha256 in zip(tars, offsets, sizes, hashes, strict=True)
    ]
    kept = frames[BESIDE].combine_chunks() if len(frames) else None
    if fit is None or kept is None or kept.null_count == len(kept):
        return places
    rows = pc.list_parent_indices(kept).to_pylist()
    fields = [
        pc.struct_field(pc.list_flatten(kept), n).to_pylist() for n in ("fit", "offset", "size", "sha256", "format")
    ]
    for row, name, offset, size, sha256, form in zip(rows, *fields, strict=True):
        place = places[row]
        if name == fit.name and (place.form is None or form != "jpeg"):
            places[row] = Place(place.tar, offsets[row] + offset, size, sha256, form)
    return places


@dataclass(frozen=True)
class FrameReader:
    """Reads frames for one model; can be sent to a process where `prepare` can.

    Attributes:
        storage: where the tars lie.
        size: (height, width) of what the model takes.
        prepare: makes that of an RGB picture.
    """

    storage: Storage
    size: tuple[int, int]
    prepare: Callable[[Image.Image], Pixels]

    @staticmethod
    def of(model: ClipModel, storage: Storage, *, elsewhere: bool = False) -> FrameReader:
        """For a model; `elsewhere` for another process, which need not import torch then."""
        prepare: Callable[[Image.Image], Pixels] = model.preprocess
        return FrameReader(storage, model.image_size, model.fit if elsewhere and model.fit is not None else prepare)

    def read(self, places: Sequence[Place]) -> tuple[Pixels, list[Problem | None]]:
        """The frames at `places`, uint8 [n, height, width, 3], and why one is not among them."""
        out = np.empty((len(places), *self.size, 3), np.uint8)
        return out, self.into(out, places)

    def into(self, out: Pixels, places: Sequence[Place]) -> list[Problem | None]:
        """Puts the frames at `places` into an array of as many; says of each why it is not there, None where it is."""
        problems: list[Problem | None] = [None] * len(places)
        for i, data in self._bytes(places):
            found = data if isinstance(data, Fault) else self._decoded(data, places[i])
            if isinstance(found, str | Fault):
                problems[i] = found
            else:
                out[i] = found
        return problems

    def _bytes(self, places: Sequence[Place]) -> Iterator[tuple[int, memoryview | Fault]]:
        """The bytes at each of `places`, in any order."""
        for run, end in _runs(places):
            first = places[run[0]]
            try:
                data = memoryview(self.storage.read_media(MediaRef(first.tar, first.offset, end - first.offset)))
            except (StorageError, *READ_ERRORS) as error:
                if len(run) == 1:
                    yield run[0], Fault(STORAGE, f"{_where(first)} cannot be read: {error}")
                    continue
                for i in run:  # one that is gone takes no other with it
                    yield from ((i, part) for _, part in self._bytes([places[i]]))
                continue
            for i in run:
                at = places[i].offset - first.offset
                yield i, data[at : at + places[i].size]

    def _decoded(self, data: memoryview, place: Place) -> Pixels | Problem:
        from PIL import Image, UnidentifiedImageError

        if place.sha256 and hashlib.sha256(data).hexdigest() != place.sha256:
            return Fault(
                STORAGE,
                f"{_where(place)} is not the picture that was written there (SHA-256 differs); materialize frames again",
            )
        try:
            if place.form is not None:
                return decoded(data, place.form, self.size)
            with Image.open(io.BytesIO(data)) as picture:
                return self.prepare(picture.convert("RGB"))
        except (
            UnidentifiedImageError
        ):  # its text holds an address in memory, which would change the table's content hash
            return f"{_where(place)} cannot be decoded: it is not a picture"
        except MemoryError as error:
            return fault_of(error) or str(error)
        except Exception as error:  # noqa: BLE001 - decoders raise many classes; the row records it
            return f"{_where(place)} cannot be decoded: {type(error).__name__}: {error}"


def _where(place: Place) -> str:
    return f"frame at {place.tar}[{place.offset}:+{place.size}]"


def _runs(places: Sequence[Place]) -> Iterator[tuple[list[int], int]]:
    """Indexes of places that are read together, by their offsets, and where the last of them ends."""
    run: list[int] = []
    end = 0
    for i in sorted(range(len(places)), key=lambda i: (places[i].tar, places[i].offset)):
        place = places[i]
        whole = max(end, place.offset + place.size)
        if run:
            first = places[run[0]]
            if place.tar != first.tar or place.offset > end + GAP_BYTES or whole - first.offset > RANGE_BYTES:
                yield run, end
                run, whole = [], place.offset + place.size
        run.append(i)
        end = whole
    if run:
        yield run, end
