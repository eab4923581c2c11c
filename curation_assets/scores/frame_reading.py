"""Stored frames as a model takes them: from the input that the decode kept beside each, else from its picture.

What belongs here: which bytes are read, and decoding them. What does not: reading (`stored_frames.py`), and how far ahead (`frame_feed.py`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.contracts.tables import BESIDE
from curation_assets.scores.stored_frames import Place, read_stored
from curation_resources.faults import Fault, fault_of
from curation_resources.model_input import Fit, Pixels, decode_into
from curation_resources.storage import Storage

if TYPE_CHECKING:
    from PIL import Image

    from curation_resources.clip_model import ClipModel

COLUMNS = ("tar", "offset", "size", "sha256", BESIDE)
"""Of `frames`: what reading takes."""
Problem = str | Fault
"""Why a frame cannot be had: for good, or now."""


def places_of(frames: pa.Table, fit: Fit | None) -> list[Place]:
    """Where the rows of `frames` are read for a model that takes pictures by `fit`: its kept input, a lossless one first, else the picture."""
    frames = frames.select(list(COLUMNS)).combine_chunks()
    tars, offsets, sizes, hashes = (frames[name].to_pylist() for name in COLUMNS[:-1])
    places = [
        Place(tar or "", offset or 0, size or 0, sha256)
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
    def of(model: ClipModel, storage: Storage) -> FrameReader:
        """For a model. By its `fit`, where it has one: that can be sent to processes that need not import torch, and takes a tenth of its own steps' time."""
        prepare: Callable[[Image.Image], Pixels] = model.preprocess
        return FrameReader(storage, model.image_size, model.fit if model.fit is not None else prepare)

    def read(self, places: Sequence[Place]) -> tuple[Pixels, list[Problem | None]]:
        """The frames at `places`, uint8 [n, height, width, 3], and why one is not among them."""
        out = np.empty((len(places), *self.size, 3), np.uint8)
        return out, self.into(out, places)

    def into(self, out: Pixels, places: Sequence[Place]) -> list[Problem | None]:
        """Puts the frames at `places` into an array of as many; says of each why it is not there, None where it is."""
        problems: list[Problem | None] = [None] * len(places)
        for i, data in read_stored(self.storage, places):
            problems[i] = data if isinstance(data, Fault) else self._decode(out[i], data, places[i])
        return problems

    def _decode(self, out: Pixels, data: memoryview, place: Place) -> Problem | None:
        from PIL import Image, UnidentifiedImageError

        try:
            if place.form is not None:
                decode_into(out, data, place.form)
            else:
                with Image.open(io.BytesIO(data)) as picture:
                    out[...] = self.prepare(picture.convert("RGB"))
            return None
        except (
            UnidentifiedImageError
        ):  # its text holds an address in memory, which would change the table's content hash
            return f"{place.name} cannot be decoded: it is not a picture"
        except MemoryError as error:
            return fault_of(error) or str(error)
        except Exception as error:  # noqa: BLE001 - decoders raise many classes; the row records it
            return f"{place.name} cannot be decoded: {type(error).__name__}: {error}"
