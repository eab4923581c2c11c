"""Cost of tracks and of face blurring: `python -m benchmarks.tracks [folder or file ...] [--detector faces] [--model PATH] [--seconds 10]`.

Prints CPU seconds (user and system, this process) and their ratio to a plain decode of the same frames in the same run. Without files, one
video of moving boxes is used: a detector's cost hardly depends on what is in the picture.

decode
    The baseline: every frame of the span decoded on one thread, and dropped.
sampled
    The frames of the span at the recipe's rate, as RGB: what the tracks stage decodes.
detect, track
    The detector, and ByteTrack, on those frames; ms per frame that is looked at.
package
    `trackers.ByteTrackTracker` alone on the same detections.
blur
    Every frame of the span with faces blurred.
seek
    One second in the middle of the file, to show that a kept clip costs its own length.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker

from curation_assets.decode.reading.clip_frames import ClipReader
from curation_assets.tracks.faces import FaceBlurrer
from curation_assets.tracks.object_detector import open_detector
from curation_assets.tracks.tracking import track_clip
from curation_assets.tracks.tracks import OnnxLayout, Tracks
from curation_resources.detectors.base import Detections


def cpu_seconds() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measured(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the CPU seconds that it took."""
    begun = cpu_seconds()
    result = work()
    return result, cpu_seconds() - begun


def generated(folder: Path) -> Path:
    """A 640 x 360 video of boxes that move, 20 seconds at 25 frames per second."""
    import av

    path = folder / "boxes.mp4"
    ground = np.random.default_rng(0).integers(60, 120, (45, 80, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 640, 360, "yuv420p", 50
        for k in range(500):
            image = ground.copy()
            for n in range(5):
                x, y = (37 * n + (3 + n) * k) % 560, (53 * n + (1 + n) * k) % 280
                image[y : y + 80, x : x + 60] = (40 * n + 40, 250 - 40 * n, 90)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    return path


def package_alone(frames: list[tuple[int, Detections]], fps: float) -> None:
    tracker = ByteTrackTracker(frame_rate=fps)
    for time_ms, found in frames:
        boxes = sv.Detections(
            xyxy=found.corners.astype(float), confidence=found.scores, class_id=np.zeros(len(found), int)
        )
        tracker.update(boxes, timestamp=time_ms / 1000)


def row(name: str, seconds: float, baseline: float, note: str = "") -> None:
    print(f"  {name:<10}{seconds:8.2f} CPU s {seconds / baseline:8.2f} x decode  {note}")


def measure(path: Path, params: Tracks, seconds: float) -> None:
    print(f"{path.name}, the first {seconds:g} s, {params.detector} at {params.fps:g} fps")
    end = int(seconds * 1000)

    def decode() -> int:
        with ClipReader(str(path)) as reader:
            return sum(1 for _ in reader.frames(0, end))

    def sampled() -> list[tuple[int, Any]]:
        with ClipReader(str(path)) as reader:
            return [(f.time_ms, reader.rgb(f)) for f in reader.frames(0, end, params.fps)]

    def blurred() -> int:
        blurrer = FaceBlurrer()
        with ClipReader(str(path)) as reader:
            for _ in blurrer.process((f.time_ms, reader.rgb(f)) for f in reader.frames(0, end)):
                pass
        return blurrer.covered

    detector = open_detector(params)
    count, baseline = measured(decode)
    row("decode", baseline, baseline, f"{count} frames")
    images, spent = measured(sampled)
    row("sampled", spent, baseline, f"{len(images)} frames")
    found, spent = measured(lambda: detector.detect([image for _, image in images]))
    boxes = sum(len(d) for d in found)
    row("detect", spent, baseline, f"{1000 * spent / len(images):.1f} ms a frame, {boxes} boxes")
    frames = [(time_ms, d) for (time_ms, _), d in zip(images, found, strict=True)]
    tracks, spent = measured(lambda: track_clip(frames, params, params.fps))
    row("track", spent, baseline, f"{1000 * spent / len(images):.2f} ms a frame, {len(tracks)} tracks")
    _, spent = measured(lambda: package_alone(frames, params.fps))
    row("package", spent, baseline, f"{1000 * spent / len(images):.2f} ms a frame")
    covered, spent = measured(blurred)
    row("blur", spent, baseline, f"{1000 * spent / count:.1f} ms a frame, {covered} faces covered")
    with ClipReader(str(path)) as reader:
        _, spent = measured(lambda: sum(1 for _ in reader.frames(end // 2, end // 2 + 1000)))
        row("seek", spent, baseline, f"{reader.frames_decoded} frames decoded for one second in the middle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--detector", default="faces", choices=["faces", "owlv2", "grounding-dino", "onnx"])
    parser.add_argument("--model")
    parser.add_argument("--vocabulary", default="coco")
    parser.add_argument("--layout", default="yolov8", choices=["fastestdet", "yolov5", "yolov8"])
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    layout = OnnxLayout(
        layout=args.layout, size=args.size, bgr=args.layout == "fastestdet", letterbox=args.layout != "fastestdet"
    )
    params = Tracks(
        detector=args.detector, model=args.model, vocabulary=args.vocabulary, onnx=layout, device=args.device
    )
    files = [f for p in args.paths for f in (sorted(p.iterdir()) if p.is_dir() else [p])]
    with tempfile.TemporaryDirectory() as folder:
        for path in files or [generated(Path(folder))]:
            measure(path, params, args.seconds)


if __name__ == "__main__":
    main()
