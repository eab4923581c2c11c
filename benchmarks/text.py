"""What finding text costs and misses at each size limit: `python -m benchmarks.text [--frames 12] [--icdar FOLDER]`.

Frames are generated: lines of known words and height on soft backgrounds, JPEG of short side 384 as in the table `frames`, every third
one without text. FOLDER holds JPEGs and, one level up, `labels/icdar_text.json` with polygons; its pictures are scaled the same way.
The baseline is rapidocr as it comes (short side enlarged to 736), on one thread, words included, on the same frames in the same run.
A line counts as found if half of its area is covered.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from curation_resources.ocr import TextReader, model_file

SHORT_SIDE = 384
LIMITS = (320, 480, 576, 640, 736)
HEIGHTS = (8, 10, 13, 18, 26, 40)
WORDS = [
    "market",
    "morning",
    "window",
    "seven",
    "garden",
    "winter",
    "paper",
    "river",
    "yellow",
    "letter",
    "engine",
    "travel",
]


@dataclass
class Sample:
    """A frame and its text: polygons (4, 2) in pixels by font size; those to be ignored count neither way."""

    image: NDArray[np.uint8]
    lines: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)
    ignored: list[NDArray[np.float32]] = field(default_factory=list)


def generated(count: int, seed: int = 0) -> list[Sample]:
    """Frames of 683 x 384 pixels; every third has no text."""
    rng = np.random.default_rng(seed)
    samples = []
    for index in range(count):
        clouds = sum(
            s * cv2.GaussianBlur(rng.normal(0, 1, (384, 683, 3)).astype(np.float32), (0, 0), s) for s in (2, 12, 50)
        )
        picture = np.clip(105 + 32 * clouds / np.std(clouds), 0, 255).astype(np.uint8)
        sample = Sample(picture)
        if index % 3:
            image = Image.fromarray(picture)
            draw = ImageDraw.Draw(image)
            for row, size in enumerate(rng.permutation(HEIGHTS)):
                text = " ".join(rng.choice(WORDS, 3))
                left, font = int(rng.integers(10, 200)), ImageFont.load_default(int(size))
                draw.text((left, 10 + 62 * row), text, font=font, fill=(int(rng.choice([20, 240])),) * 3)
                x0, y0, x1, y1 = draw.textbbox((left, 10 + 62 * row), text, font=font)
                sample.lines.append((int(size), np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)))
            sample.image = np.asarray(image)
        samples.append(_as_stored(sample))
    return samples


def labelled(folder: Path) -> list[Sample]:
    """The pictures of a folder with the polygons of ICDAR 2015, as size 0."""
    labels = json.loads((folder.parent / "labels" / "icdar_text.json").read_text())
    samples = []
    for name, polygons in sorted(labels.items()):
        image = cv2.imread(str(folder / name))
        if image is None:
            raise SystemExit(f"{folder / name} is named in the labels and cannot be read")
        scale = SHORT_SIDE / min(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        corners = [(p["ignore"], np.array(p["polygon"], np.float32).reshape(4, 2) * scale) for p in polygons]
        samples.append(
            _as_stored(Sample(small, [(0, c) for skip, c in corners if not skip], [c for skip, c in corners if skip]))
        )
    return samples


def _as_stored(sample: Sample) -> Sample:
    data = cv2.imencode(".jpg", sample.image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    stored = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert stored is not None
    return Sample(stored, sample.lines, sample.ignored)


@dataclass(frozen=True)
class Result:
    """Over a set of frames.

    Attributes:
        cpu_ms: CPU time per frame.
        found: lines found and lines there, by font size.
        extra: share of the frame that is covered without text there, mean.
        area_error: absolute error of the covered share, mean.
    """

    cpu_ms: float
    found: dict[int, tuple[int, int]]
    extra: float
    area_error: float


def evaluate(reader: TextReader, samples: Sequence[Sample]) -> Result:
    reader(samples[0].image)
    found: dict[int, tuple[int, int]] = {}
    extra, errors, seconds = 0.0, 0.0, 0.0
    for sample in samples:
        began = time.process_time()
        lines = reader(sample.image)
        seconds += time.process_time() - began
        covered = _painted(sample.image, [line.polygon for line in lines])
        ignored = _painted(sample.image, sample.ignored)
        truth = _painted(sample.image, [polygon for _, polygon in sample.lines])
        for size, polygon in sample.lines:
            there = _painted(sample.image, [polygon])
            hits, total = found.get(size, (0, 0))
            found[size] = (hits + bool((there & covered).sum() >= there.sum() / 2), total + 1)
        extra += float((covered & ~truth & ~ignored).mean())
        errors += abs(float((covered & ~ignored).mean()) - float(truth.mean()))
    return Result(1000 * seconds / len(samples), found, extra / len(samples), errors / len(samples))


def _painted(image: NDArray[np.uint8], polygons: Sequence[NDArray[np.float32]]) -> NDArray[np.bool_]:
    mask = np.zeros(image.shape[:2], np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [polygon.round().astype(np.int32)], 1)
    return mask.astype(bool)


def baseline_ms(samples: Sequence[Sample]) -> float:
    """CPU milliseconds per frame of rapidocr with its own settings, on one thread."""
    import rapidocr

    engine = rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Det.model_path": str(model_file("det")),
            "Rec.model_path": str(model_file("rec")),
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        }
    )
    engine(samples[-1].image)
    began = time.process_time()
    for sample in samples:
        engine(sample.image)
    return 1000 * (time.process_time() - began) / len(samples)


def report(name: str, samples: Sequence[Sample]) -> None:
    base = baseline_ms(samples)
    sizes = sorted({size for sample in samples for size, _ in sample.lines})
    print(f"\n{name}: {len(samples)} frames; rapidocr as it comes {base:.0f} CPU ms a frame")
    heads = [f"{s} px" if s else "lines" for s in sizes]
    print("| limit | words | CPU ms | ratio | " + " | ".join(heads) + " | extra area | area error |")
    print("|---|" * 1 + "---|" * (5 + len(sizes)))
    for limit in LIMITS:
        for words in (False, True):
            r = evaluate(TextReader(limit, words=words), samples)
            counts = " | ".join(f"{r.found[s][0]}/{r.found[s][1]}" for s in sizes)
            print(
                f"| {limit} | {'yes' if words else 'no'} | {r.cpu_ms:.0f} | {r.cpu_ms / base:.2f} | {counts} "
                f"| {r.extra:.4f} | {r.area_error:.4f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12, help="generated frames")
    parser.add_argument("--icdar", type=Path, help="folder of labelled pictures")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    report("generated", generated(options.frames))
    if options.icdar:
        report("labelled", labelled(options.icdar))


if __name__ == "__main__":
    main()
