"""What exported clips hide of people: what is covered, how it is found, and with which weights.

What belongs here: the sections of recipes that say so, and each thing to cover with its detector. What does not: looking, following and covering
(`tracks/faces.py`), and where in the cutting of a clip it is done (`cutting/cover_blurring.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from curation_assets.contracts.sections import Section
from curation_assets.tracks.tracks import OnnxLayout

if TYPE_CHECKING:
    from curation_assets.tracks.face_search import Beat
    from curation_resources.detectors.base import Detector

FaceMethod = Literal["ellipse", "box", "mosaic"]
Thing = Literal["face", "plate"]
PLATES = "export.clips.blur_plates"


class FaceCover(Section):
    """How faces are covered, for `blur: {faces: ...}`."""

    method: FaceMethod = Field("ellipse", description="How faces are covered.")
    scale: float = Field(1.3, ge=1, le=3, description="Covered area; see `blur_scale`.")
    threshold: float = Field(
        0.2, ge=0, le=1, description="Least score of a face; 0.8 of it where another look had a hint of one."
    )
    leak_model: str | None = Field(None, description="YuNet file of a second detector; see `leak_model`.")


class PlateDetector(Section):
    """An ONNX file that finds licence plates."""

    model: str = Field(
        description="Path, URL or `package:NAME/FILE` of the file; there is none by default, since good ones carry licences of their own."
    )
    sha256: str | None = Field(
        None, description="SHA-256 that the file must have; needed for a URL.", pattern="^[0-9a-fA-F]{64}$"
    )
    onnx: OnnxLayout = Field(default_factory=lambda: OnnxLayout())
    names: tuple[str, ...] = Field(default=("plate",), min_length=1, description="The file's classes, in its order.")
    plates: tuple[str, ...] = Field(default=(), description="Which of these are plates; none named: all.")

    @field_validator("plates")
    @classmethod
    def _known(cls, plates: tuple[str, ...], info: Any) -> tuple[str, ...]:
        unknown = [p for p in plates if p not in info.data.get("names", plates)]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of `names`")
        return plates

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        from curation_resources.weights import is_remote

        if is_remote(self.model) and self.sha256 is None:
            yield "`model` is a URL; give `sha256` of the file that it has, so that it cannot change unseen"

    def path(self, setting: str = PLATES) -> Path:
        """The local file, fetched if need be.

        Raises:
            MissingWeights, WrongWeights: it cannot be had, or has other bytes.
        """
        from curation_resources.weights import fetch_weights

        return fetch_weights(self.model, "the plate detector", f"{setting}.model", self.sha256)

    def identity(self) -> str:
        """What identifies its weights and which of its classes count, for fingerprints; a file of a URL is not fetched for it."""
        from curation_resources.weights import file_sha256, is_remote

        said = self.sha256.lower() if self.sha256 and is_remote(self.model) else file_sha256(self.path())
        return f"onnx:{said[:16]}"

    def open(self, confidence: float, setting: str = PLATES) -> Detector:
        """The detector, reporting scores from `confidence` on.

        Raises:
            MissingWeights, WrongWeights: its file cannot be had or is none.
        """
        from curation_resources.detectors.classes import OfClasses
        from curation_resources.detectors.onnx import OnnxDetector, OnnxForm

        form = OnnxForm(**self.onnx.model_dump(), setting=setting)
        found = OnnxDetector(str(self.path(setting)), self.names, form, confidence=confidence)
        return OfClasses(found, self.plates) if self.plates else found


class PlateCover(PlateDetector):
    """How licence plates are found and covered: with a box in one colour, since a few blurred letters can be guessed."""

    threshold: float = Field(0.3, ge=0, le=1, description="Least score of a plate.")
    scale: float = Field(1.2, ge=1, le=3, description="Covered area: 1.2 adds 20 % of the plate's size on every side.")
    leak: PlateDetector | None = Field(
        None,
        description="A second detector that looks for plates in a sample of the blurred clips; null looks for none.",
    )

    def cover(self) -> Cover:
        """The thing to cover."""
        return Cover("plate", "plain", self.scale, self.threshold, plates=self)


class Blur(Section):
    """What is covered in the pictures of exported clips."""

    faces: bool | FaceCover = Field(False, description="Whether faces are covered, or how.")
    plates: PlateCover | None = Field(None, description="Licence plates; see `blur_plates`.")

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if self.faces is False and self.plates is None:
            yield "`blur` names nothing to cover; say `faces: true`, `plates: {model: ...}` or leave it out"

    def keys_of_clips(self) -> dict[str, Any]:
        """The same as keys of `export.clips`."""
        faces = self.faces if isinstance(self.faces, FaceCover) else FaceCover()
        return {
            "blur_faces": self.faces is not False,
            "blur": faces.method,
            "blur_scale": faces.scale,
            "blur_threshold": faces.threshold,
            "leak_model": faces.leak_model,
            "blur_plates": self.plates,
        }


@dataclass(frozen=True)
class Cover:
    """Something that is covered in exported clips.

    Attributes:
        thing: what.
        method, scale, threshold: see `tracks.faces.FaceBlurrer`.
        leak_model: file of a second face detector; None for none.
        plates: where plate detectors come from; None for faces.
    """

    thing: Thing
    method: Literal["ellipse", "box", "mosaic", "plain"]
    scale: float
    threshold: float
    leak_model: str | None = None
    plates: PlateCover | None = None

    @property
    def beat(self) -> Beat:
        """When it is looked for. A car that passes moves by more than the length of its plate from frame to frame, a face hardly does; and a detector with
        an input of one size costs as much for a part of a picture."""
        from curation_assets.tracks.face_search import Beat
        from curation_assets.tracks.faces import BEAT

        return Beat(1, 1) if self.thing == "plate" else BEAT

    @property
    def file(self) -> str:
        """Name of the table beside the samples that says where it was covered."""
        return f"{self.thing}s.parquet"

    def identity(self) -> str:
        """What identifies the weights of its detector.

        Raises:
            MissingWeights, WrongWeights, MissingExtra: it cannot be had.
        """
        if self.plates is not None:
            return self.plates.identity()
        from curation_resources.detectors.faces import centerface_identity

        return centerface_identity()

    def fetch(self) -> None:
        """Fetches its weights, so that what cannot be had stops an export before anything is cut.

        Raises:
            MissingWeights, WrongWeights: it cannot be had.
        """
        if self.plates is not None:
            self.plates.path()
            if self.plates.leak is not None:
                self.plates.leak.path(f"{PLATES}.leak")

    def detector(self) -> Detector:
        """Finds it, down to the score that counts where it is expected, or that says where to look."""
        from curation_assets.tracks.faces import HINT, MAX_SIDE, WEAK

        if self.plates is not None:
            return self.plates.open(self.threshold * WEAK)
        from curation_resources.detectors.faces import CenterFaceDetector

        return CenterFaceDetector(confidence=self.threshold * HINT, max_side=MAX_SIDE)

    @property
    def looked_at_again(self) -> bool:
        """Whether the recipe names a second detector."""
        return self.leak_model is not None or (self.plates is not None and self.plates.leak is not None)

    def second_detector(self) -> Detector | None:
        """Looks for what was left uncovered; None if the recipe names none."""
        if self.plates is not None:
            leak = self.plates.leak
            return leak.open(self.threshold, f"{PLATES}.leak") if leak is not None else None
        if self.leak_model is None:
            return None
        from curation_resources.detectors.faces import YuNetDetector

        return YuNetDetector(self.leak_model)
