"""One stored frame as a model takes it: from the input that the decode kept beside it, else from its picture.

What belongs here: reading, checking and decoding. What does not: which frames in which order, and how far ahead (`frame_feed.py`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curation_assets.contracts.tables import BESIDE, beside
from curation_resources.faults import STORAGE, Fault, fault_of
from curation_resources.media import MediaRef
from curation_resources.model_input import Fit, Pixels, decoded
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS, StorageError

if TYPE_CHECKING:
    from PIL import Image

    from curation_resources.clip_model import ClipModel

COLUMNS = ("video_id", "tar", "offset", "size", "sha256", BESIDE)
"""Of `frames`: what reading takes."""
Read = np.ndarray | str | Fault
"""A frame as the model takes it (uint8 [height, width, 3]), or why it cannot be had: for good, or now."""


@dataclass(frozen=True)
class FrameReader:
    """Reads frames for one model; can be sent to a process where `prepare` can.

    Attributes:
        storage: where the tars lie.
        fit: how the model takes pictures, by which kept inputs are known; None uses none.
        prepare: makes that of an RGB picture.
    """

    storage: Storage
    fit: Fit | None
    prepare: Callable[[Image.Image], Pixels]

    @staticmethod
    def of(model: ClipModel, storage: Storage, *, elsewhere: bool = False) -> FrameReader:
        """For a model; `elsewhere` for another process, which need not import torch then."""
        prepare: Callable[[Image.Image], Pixels] = model.preprocess
        return FrameReader(storage, model.fit, model.fit if elsewhere and model.fit is not None else prepare)

    def all(self, rows: Sequence[Mapping[str, Any]]) -> list[Read]:
        """The frames of rows of `frames`, with `COLUMNS`."""
        return [self.one(row) for row in rows]

    def kept(self, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The input that is kept beside a frame and fits the model; a lossless one goes before a JPEG."""
        if self.fit is None:
            return None
        fitting = [i for i in beside(row) if i["fit"] == self.fit.name]
        return min(fitting, key=lambda i: bool(i["format"] == "jpeg"), default=None)

    def one(self, row: Mapping[str, Any]) -> Read:
        """One frame."""
        kept = self.kept(row)
        place = row if kept is None else kept
        where = f"frame at {place['tar']}[{place['offset']}:+{place['size']}]"
        try:
            data = self.storage.read_media(MediaRef(place["tar"], place["offset"], place["size"]))
        except (StorageError, *READ_ERRORS) as error:
            return Fault(STORAGE, f"{where} cannot be read: {error}")
        if place["sha256"] and hashlib.sha256(data).hexdigest() != place["sha256"]:
            return Fault(
                STORAGE,
                f"{where} is not the picture that was written there (SHA-256 differs); materialize frames again",
            )
        return self._decoded(data, kept, where)

    def _decoded(self, data: bytes, kept: Mapping[str, Any] | None, where: str) -> Read:
        from PIL import Image, UnidentifiedImageError

        try:
            if kept is not None and self.fit is not None:
                return decoded(data, kept["format"], self.fit.size)
            with Image.open(io.BytesIO(data)) as picture:
                return self.prepare(picture.convert("RGB"))
        except (
            UnidentifiedImageError
        ):  # its text holds an address in memory, which would change the table's content hash
            return f"{where} cannot be decoded: it is not a picture"
        except MemoryError as error:
            return fault_of(error) or str(error)
        except Exception as error:  # noqa: BLE001 - decoders raise many classes; the row records it
            return f"{where} cannot be decoded: {type(error).__name__}: {error}"
