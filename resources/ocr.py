"""Reading text in pictures with rapidocr, offline: its models lie in its wheel.

What belongs here: loading the models and one call per picture. What does not: which pictures, and what their text means.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from curation_resources.extras import require
from curation_resources.weights import MissingWeights, file_sha256

TALLEST_UNREAD = 1 / 3
"""Share of the frame's height above which a box is no text unless it was read well: the detector takes faces, wheels and whole pictures
for single huge characters with a confidence no lower than that of real text, and the recogniser makes a sign or two of them."""
READ_WELL = 0.9
"""Confidence from which words of two letters or more count as read well; what was seen in whole photographs stayed below 0.75."""
UNREAD_SCORE, UNREAD_HEIGHT, UNREAD_LENGTH = 0.6, 0.2, 2.2
"""A line that was found and could not be read counts if the detector is so sure of it, it is at most such a share of the frame high, and so
many times as long as it is high. The detector finds lines of any script; the recogniser knows Latin, Chinese and Japanese. On 227 frames of
real videos this adds 10 boxes, of which 7 are text (Korean lettering, a display); the largest of the others covers 1.3 percent of its frame."""
UNREAD_LONG, UNREAD_LONG_SCORE = 6.0, 0.5
"""Of a line so long the detector need be no surer than it always is."""


@dataclass(frozen=True)
class TextLine:
    """A line of text in a picture.

    Attributes:
        polygon: float32 (4, 2), corners x, y in pixels, clockwise from the top left of the text.
        text: the words; None if they were not read, or cannot be.
        confidence: 0 to 1, of the words if they were read, else of the box.
    """

    polygon: NDArray[np.float32]
    text: str | None
    confidence: float


class TextReader:
    """Finds lines of text, and reads them if asked to, on one thread.

    Args:
        limit: long side to which larger pictures are shrunk for finding text, pixels; smaller ones are not enlarged.
        words: whether the lines are read. What is found counts whether or not it can be read, unless its looks are not those of a line
            (`UNREAD_SCORE`); boxes taller than `TALLEST_UNREAD` need to be read well.
        confidence: least confidence of the words of a line that was read, and of a box where none are.
        folder: folder of the models; default rapidocr's own.

    Raises:
        MissingWeights: rapidocr or one of its models is not there.
    """

    def __init__(self, limit: int, *, words: bool = True, confidence: float = 0.5, folder: Path | None = None) -> None:
        detector, recogniser = model_file("det", folder), model_file("rec", folder)
        import rapidocr

        self._words, self._confidence = words, confidence
        # Without a path rapidocr would look for its models, and fetch them if their hash is not the expected one.
        self._engine = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "Det.model_path": str(detector),
                "Rec.model_path": str(recogniser),
                "Det.limit_type": "max",
                "Det.limit_side_len": limit,
                # One line at a time: in a batch all are padded to the widest, and what is read of one depends on the others.
                "Rec.rec_batch_num": 1,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
            }
        )
        self.identity = identity(words, folder)

    def __call__(self, image: NDArray[np.uint8]) -> list[TextLine]:
        """The lines in an image, uint8 (h, w, 3) blue, green, red, from top to bottom."""
        lines = self._read(image) if self._words else self._find(image)
        return [k for k in lines if _height(k.polygon) <= TALLEST_UNREAD * image.shape[0] or _read_well(k)]

    def _find(self, image: NDArray[np.uint8]) -> list[TextLine]:
        """Boxes without their words."""
        found = self._engine(image, use_det=True, use_rec=False)
        if found.boxes is None:
            return []
        lines = [
            TextLine(np.asarray(b, np.float32), None, float(s)) for b, s in zip(found.boxes, found.scores, strict=True)
        ]
        return [line for line in lines if line.confidence >= self._confidence]

    def _read(self, image: NDArray[np.uint8]) -> list[TextLine]:
        """Boxes with their words; step by step, since the engine as a whole drops what it cannot read and keeps no score of a box."""
        from rapidocr.main import RapidOCRError
        from rapidocr.utils.process_img import map_boxes_to_original

        scaled, steps = self._engine.preprocess_img(image)
        try:
            crops, found = self._engine.detect_and_crop(scaled, steps)
        except RapidOCRError:  # how it says that there is no text
            return []
        boxes = map_boxes_to_original(found.boxes, steps, *image.shape[:2])
        read = self._engine.recognize_txt(crops)
        lines = []
        for box, score, text, confidence in zip(boxes, found.scores, read.txts, read.scores, strict=True):
            polygon = np.asarray(box, np.float32)
            if text.strip() and confidence >= self._confidence:
                lines.append(TextLine(polygon, text, float(confidence)))
            elif _looks_like_a_line(polygon, float(score), image.shape[0]):
                lines.append(TextLine(polygon, None, float(score)))
        return lines


def _looks_like_a_line(polygon: NDArray[np.float32], score: float, frame_height: int) -> bool:
    """Whether a box that could not be read is text all the same."""
    short, long = sorted(_sides(polygon))
    length = long / max(short, 1.0)
    sure = score >= UNREAD_SCORE or (score >= UNREAD_LONG_SCORE and length >= UNREAD_LONG)
    return sure and short <= UNREAD_HEIGHT * frame_height and length >= UNREAD_LENGTH


def _read_well(line: TextLine) -> bool:
    """Whether a line holds two letters or digits and the recogniser is sure of them."""
    return line.text is not None and line.confidence >= READ_WELL and sum(c.isalnum() for c in line.text) >= 2


def _height(polygon: NDArray[np.float32]) -> float:
    """Height of a line, pixels: the shorter of two neighbouring sides."""
    return min(_sides(polygon))


def _sides(polygon: NDArray[np.float32]) -> tuple[float, float]:
    """Lengths of two neighbouring sides, pixels."""
    return float(np.linalg.norm(polygon[1] - polygon[0])), float(np.linalg.norm(polygon[3] - polygon[0]))


def model_file(kind: str, folder: Path | None = None) -> Path:
    """Path of rapidocr's ONNX model of a kind, `det` or `rec`.

    Raises:
        MissingWeights: one sentence that says what is missing and where.
    """
    if folder is None:
        require("reading text", "rapidocr", "onnxruntime")
        folder = Path(str(cast(ModuleSpec, find_spec("rapidocr")).origin)).parent / "models"
    files = sorted(folder.glob(f"*_{kind}_*.onnx"))
    if not files:
        raise MissingWeights(
            f"reading text needs rapidocr's model *_{kind}_*.onnx, which is not in {folder}; install rapidocr from its wheel again, "
            "which carries it"
        )
    return files[-1]


def identity(words: bool, folder: Path | None = None) -> str:
    """Names and hashes of the models, for metadata and fingerprints; loads nothing."""
    files = [model_file(kind, folder) for kind in (("det", "rec") if words else ("det",))]
    return "rapidocr " + " + ".join(f"{f.stem}@{file_sha256(f)[:12]}" for f in files)
