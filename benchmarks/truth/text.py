"""Text in the picture: lines in many scripts on busy footage, watermarks that shine through, and footage without text.

Beside the stage's reader, rapidocr as it comes, which drops what it cannot read. The folder may have `videos/` and `panda/`, from whose middle
frames the pictures come; without it they are generated. A line is found if half of what is written is covered. The halves are by picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.truth import written
from benchmarks.truth.options import Options
from benchmarks.truth.rows import Row
from benchmarks.truth.single_shots import half_of
from benchmarks.truth.written import Picture, Style
from curation_assets.scores.text_scores import Text
from curation_resources.ocr import TextReader

SHORT_SIDE = 384
PICTURES, FEW_PICTURES = 12, 4
"""Of each half that lines are written into."""
STYLES = tuple(
    Style(size, outline, turn) for size in (16, 28) for outline, turn in ((2, 0.0), (0, 0.0), (2, 6.0), (2, -12.0))
)
Find = Callable[[Picture], Sequence[NDArray[np.float32]]]
"""Corners (4, 2) of each line in a picture, uint8 (h, w, 3) red, green, blue."""


def measure(options: Options) -> Iterator[Row]:
    """Of each half a row per script and watermark, one for the pictures as they are, and one for textures, in which every line is false."""
    systems = _systems()
    for half in options.halves:
        pictures = list(_pictures(options.folder, half, FEW_PICTURES if options.small else PICTURES))
        for script, sentence in written.SENTENCES.items():
            font = written.font_file(script)
            if font is not None and options.kinds in script:
                tries = [written.write(p, sentence, font, STYLES[k % len(STYLES)]) for k, p in enumerate(pictures)]
                yield _row(script, half, tries, systems)
        for opacity in (0.5, 0.25):
            kind, font = f"watermark of {opacity:.0%}, 40 px", written.font_file("Latin")
            if font is not None and options.kinds in kind:
                style = Style(40, opacity=opacity, height=0.55)
                yield _row(kind, half, [written.write(p, "SAMPLE MEDIA", font, style) for p in pictures], systems)
        textures = [written.texture(1000 + 2 * k + (half == "second")) for k in range(len(pictures))]
        for kind, unwritten in (("nothing written", pictures), ("textures without text", textures)):
            if options.kinds in kind:
                yield _unwritten(kind, half, unwritten, systems)


def _systems() -> dict[str, Find]:
    import rapidocr

    reader = TextReader(Text().limit, confidence=Text().confidence)
    engine = rapidocr.RapidOCR(params={"Global.log_level": "critical"})

    def alone(picture: Picture) -> Sequence[NDArray[np.float32]]:
        found = engine(picture[..., ::-1], use_det=True, use_cls=True, use_rec=True)
        return [] if found.boxes is None else list(found.boxes)

    return {"stage": lambda picture: [line.polygon for line in reader(picture[..., ::-1])], "rapidocr": alone}


def _row(kind: str, half: str, tries: Sequence[tuple[Picture, NDArray[np.bool_]]], systems: dict[str, Find]) -> Row:
    found = {name: sum(_covered(find(p), ink) >= 0.5 for p, ink in tries) for name, find in systems.items()}
    figures = {name: {"found": float(n), "of": float(len(tries))} for name, n in found.items()}
    return Row("text", kind, half, f"{len(tries)} lines", {name: str(n) for name, n in found.items()}, figures)


def _unwritten(kind: str, half: str, pictures: Sequence[Picture], systems: dict[str, Find]) -> Row:
    """Lines that are found in pictures as they are, and in how many of them: what videos show themselves is among these."""
    lines = {name: [find(p) for p in pictures] for name, find in systems.items()}
    found = {name: f"{sum(map(len, of))} in {sum(map(bool, map(len, of)))}" for name, of in lines.items()}
    area = {
        name: [_covered(polygons, np.ones(p.shape[:2], bool)) for polygons, p in zip(of, pictures, strict=True)]
        for name, of in lines.items()
    }
    figures = {
        name: {"lines": float(sum(map(len, of))), "area": float(np.mean(area[name])), "of": float(len(pictures))}
        for name, of in lines.items()
    }
    return Row("text", kind, half, f"{len(pictures)} pictures", found, figures)


def _covered(polygons: Sequence[NDArray[np.float32]], ink: NDArray[np.bool_]) -> float:
    """Share of the written pixels that the polygons cover."""
    mask = np.zeros(ink.shape, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.asarray(polygon).astype(np.int32)], 1)
    return float(mask[ink].mean())


def _pictures(folder: Path | None, half: str, most: int) -> Iterator[Picture]:
    """Middle frames of the folder's videos, or busy textures."""
    if folder is None:
        yield from (written.texture(2 * k + (half == "second")) for k in range(most))
        return
    videos = [
        p
        for p in sorted((folder / "videos").glob("*")) + sorted((folder / "panda").glob("*"))
        if half_of(p.name) == half
    ]
    for path in [p for p in videos if p.suffix in (".mp4", ".webm", ".mov", ".avi", ".mkv")][:most]:
        with av.open(path) as video:
            video.streams.video[0].codec_context.skip_frame = "NONKEY"
            frames = list(video.decode(video=0))
        image = frames[len(frames) // 2].to_ndarray(format="rgb24")
        scale = SHORT_SIDE / min(image.shape[:2])
        yield np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
