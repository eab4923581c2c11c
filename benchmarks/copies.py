"""Recall of near-duplicate detection per kind of copy, and false merges, on copies made of real videos.

    python -m benchmarks.copies [FOLDER ...] [--seconds 10]

The videos in the folders must be distinct; without a folder, photographs are panned over. Each is copied in the ways of `COPIES`, `SLIGHT` and `CUTS` (decoded, changed, encoded with libx264), original and copies go
through the decoding pass as whole-video clips and through the index, and every accepted pair is judged: a copy with its original counts
for recall, a pair of different originals (or of their copies) is a false merge.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.decode.analysis import analyse_video
from curation_assets.decode.analysis_results import AnalysisParams, VideoFacts
from curation_assets.decode.clips import Clips
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import Index, ShardInput, update_index
from curation_assets.demo.drawing import film, pan, photographs
from curation_assets.demo.videos import encode
from curation_assets.schemas import schema
from curation_resources.storage import Storage
from curation_resources.x264 import repeatable

LONG_SIDE: Final = 640
BLACK, WHITE = 16, 235
SUFFIXES: Final = {".mp4", ".webm", ".mov", ".mkv", ".avi"}

Luma = NDArray[np.uint8]


@dataclass(frozen=True)
class Footage:
    """Luma pictures (h, w) with their times in milliseconds, and the quality (crf) at which they are to be encoded."""

    pictures: list[Luma]
    times: NDArray[np.float64]
    crf: int = 26

    def each(self, change: Callable[[Luma], Luma], crf: int = 26) -> Footage:
        return Footage([change(p) for p in self.pictures], self.times, crf)

    def between(self, start_ms: float, before_end_ms: float = 0.0) -> Footage:
        """Without the first and last milliseconds; times begin at 0 again."""
        inside = np.flatnonzero((self.times >= start_ms - 1) & (self.times <= self.times[-1] - before_end_ms))
        return Footage([self.pictures[i] for i in inside], self.times[inside] - self.times[inside[0]])


def read_footage(path: Path, seconds: float) -> Footage:
    """The first seconds of a video, the long side at most `LONG_SIDE` pixels and both even."""
    pictures, times = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            if frame.pts is None or stream.time_base is None:
                continue
            plane = frame.planes[0]
            luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
            scale = min(1.0, LONG_SIDE / max(luma.shape))
            size = tuple(round(side * scale) // 2 * 2 for side in reversed(luma.shape))
            pictures.append(np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8))
            times.append(float(frame.pts * stream.time_base) * 1000)
            if times[-1] - times[0] >= seconds * 1000:
                break
    return Footage(pictures, np.array(times) - times[0])


def write_footage(footage: Footage, path: Path) -> None:
    """Encodes with libx264, the same bytes every time; odd sizes lose a row or column."""
    height, width = (side // 2 * 2 for side in footage.pictures[0].shape)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(footage.crf), "preset": "veryfast"} | repeatable()
        stream.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 1000)
        for picture, time_ms in zip(footage.pictures, footage.times, strict=True):
            planes = np.full((height * 3 // 2, width), 128, np.uint8)
            planes[:height] = picture[:height, :width]
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = round(time_ms), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _scaled(picture: Luma, factor: float) -> Luma:
    size = tuple(max(2, round(side * factor)) for side in reversed(picture.shape))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _cropped(picture: Luma) -> Luma:
    height, width = picture.shape
    return picture[height // 20 : height - height // 20, width // 20 : width - width // 20]


def _barred(picture: Luma, top: int, side: int) -> Luma:
    bars = cv2.copyMakeBorder(picture, top, top, side, side, cv2.BORDER_CONSTANT, value=(BLACK,))
    return np.asarray(bars, np.uint8)


def _logo(picture: Luma, share: float) -> Luma:
    """An opaque white box with dark letters in the upper right, `share` of the width and of the height."""
    height, width = picture.shape
    h, w, top, right = int(share * height), int(share * width), height // 25, width - width // 25
    out = picture.copy()
    out[top : top + h, right - w : right] = WHITE
    cv2.putText(out, "TV", (right - w + 2, top + int(0.8 * h)), cv2.FONT_HERSHEY_SIMPLEX, h / 40, (BLACK,), 2)
    return out


def _faded_in(footage: Footage) -> Footage:
    gains = np.clip(footage.times / 1000, 0, 1)
    return Footage(
        [
            np.asarray(BLACK + np.clip(p.astype(np.float32) - BLACK, 0, None) * gain, np.uint8)
            for p, gain in zip(footage.pictures, gains, strict=True)
        ],
        footage.times,
    )


def part_of(picture: Luma, share: float, x: float = 0.5, y: float = 0.5) -> Luma:
    """A part of the picture, `share` of its width and height, whose place is given as shares of the room there is."""
    height, width = picture.shape
    h, w = round(share * height), round(share * width)
    top, left = round(y * (height - h)), round(x * (width - w))
    return picture[top : top + h, left : left + w]


def upright(picture: Luma, ratio: float) -> Luma:
    """The middle of a wider picture, in full height, `ratio` times as wide as high."""
    height, width = picture.shape
    w = min(width, round(ratio * height))
    return picture[:, (width - w) // 2 : (width - w) // 2 + w]


def _turned(picture: Luma, degrees: float) -> Luma:
    """Turned about its middle, and enlarged until no corner is empty."""
    height, width = picture.shape
    angle = np.radians(degrees)
    enlarged = np.cos(angle) + np.sin(angle) * max(height / width, width / height)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, enlarged)
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def _drifting(footage: Footage) -> Footage:
    """A window of 90 % that wanders from the upper left to the lower right."""
    way = footage.times / max(1.0, footage.times[-1])
    pictures = [part_of(p, 0.9, float(at), float(at)) for p, at in zip(footage.pictures, way, strict=True)]
    return Footage(pictures, footage.times)


COPIES: Final[Mapping[str, Callable[[Footage], Footage]]] = {
    "re-encoded, crf 40": lambda f: Footage(f.pictures, f.times, 40),
    "half scale": lambda f: f.each(lambda p: _scaled(p, 0.5), 28),
    "pillarbox": lambda f: f.each(lambda p: _barred(p, 0, p.shape[1] // 4)),
    "letterbox": lambda f: f.each(lambda p: _barred(p, p.shape[0] // 6, 0)),
    "logo, 1/8 x 1/8": lambda f: f.each(lambda p: _logo(p, 1 / 8)),
    "logo, 1/6 x 1/6": lambda f: f.each(lambda p: _logo(p, 1 / 6)),
    "fade-in from black, 1 s": _faded_in,
    "first second trimmed": lambda f: f.between(1000),
    "last second trimmed": lambda f: f.between(0, 1000),
    "0.73 s and 0.2 s trimmed": lambda f: f.between(730, 200),
    "10 % crop": lambda f: f.each(_cropped),
    "5 % faster": lambda f: Footage(f.pictures, f.times / 1.05),
    "mirrored": lambda f: f.each(lambda p: p[:, ::-1]),
}


def _without(picture: Luma, top: float, bottom: float, side: float) -> Luma:
    """Without these shares of the height above and below, and of the width at each side."""
    height, width = picture.shape
    first, last = round(top * height), height - round(bottom * height)
    beside = round(side * width)
    return picture[first:last, beside : width - beside]


SLIGHT: Final[Mapping[str, Callable[[Footage], Footage]]] = {
    "cut by 1 % above": lambda f: f.each(lambda p: _without(p, 0.011, 0, 0)),
    "cut by 2 % below": lambda f: f.each(lambda p: _without(p, 0, 0.02, 0)),
    "cut by 1 % all round": lambda f: f.each(lambda p: _without(p, 0.01, 0.01, 0.01)),
}
"""Copies whose picture lies a part of a cell of the course elsewhere, as borders that are cut away roughly leave it."""

CUTS: Final[Mapping[str, Callable[[Footage], Footage]]] = {
    "crop to 80 %": lambda f: f.each(lambda p: part_of(p, 0.8)),
    "crop to 70 %": lambda f: f.each(lambda p: part_of(p, 0.7)),
    "square crop": lambda f: f.each(lambda p: upright(p, 1.0)),
    "9:16 crop": lambda f: f.each(lambda p: upright(p, 9 / 16)),
    "rotated by 5 degrees": lambda f: f.each(lambda p: _turned(p, 5.0)),
    "drifting 90 % crop": _drifting,
}
"""Copies of which only a part of the picture is left."""

TURNED: Final[Mapping[str, Callable[[Footage], Footage]]] = {
    "reversed": lambda f: Footage(f.pictures[::-1], f.times),
    "negative": lambda f: f.each(lambda p: np.asarray(255 - p, np.uint8)),
}
"""Copies that count only if the recipe asks for them, like mirrored ones."""


ALL: Final = {**COPIES, **SLIGHT, **CUTS, **TURNED}


def fingerprint(path: Path, video_id: str, params: Dedup) -> list[dict[str, object]]:
    """The `clip_fingerprints` rows of a video taken as one clip."""
    analysis = analyse_video(
        str(path),
        AnalysisParams(clips=Clips.model_validate({"from": "whole", "min_s": 0.1, "max_s": 3600}), hashing=params),
        VideoFacts("copies", video_id),
        ["clip_fingerprints"],
        io.BytesIO(),
    )
    return analysis.rows["clip_fingerprints"]


@dataclass
class Judgement:
    """Found and made copies per kind, the originals that were missed, and wrongly merged pairs."""

    found: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    made: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    missed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    false: list[tuple[str, str]] = field(default_factory=list)

    def recall(self, kind: str) -> float:
        return self.found[kind] / self.made[kind]


def compare_copies(videos: Iterable[Path], params: Dedup, seconds: float, kinds: Iterable[str] = COPIES) -> Judgement:
    """Makes the copies of each video, indexes all of them together and judges every pair."""
    judgement = Judgement()
    rows: list[dict[str, object]] = []
    pairs: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for video in videos:
            footage = read_footage(video, seconds)
            source = Path(folder, "copy.mp4")
            for kind in ("original", *kinds):
                copy = Footage(footage.pictures, footage.times, 20) if kind == "original" else ALL[kind](footage)
                if copy.times[-1] < 1000 and "trimmed" in kind:
                    continue
                write_footage(copy, source)
                rows += fingerprint(source, f"{video.name}|{kind}", params)
                if kind != "original":
                    judgement.made[kind] += 1
                    pairs[f"{video.name}|{kind}", f"{video.name}|original"] = kind
        table = pa.Table.from_pylist(rows, schema("clip_fingerprints").arrow)
        index = update_index(Storage(folder), "index", [ShardInput("copies", "1", lambda: table)], params)
        names = set(accepted_pairs(index))
    for pair, kind in pairs.items():
        if pair in names or pair[::-1] in names:
            judgement.found[kind] += 1
        else:
            judgement.missed[kind].append(pair[0].split("|")[0])
    judgement.false = sorted(p for p in names if p[0].split("|")[0] != p[1].split("|")[0])
    return judgement


def accepted_pairs(index: Index) -> Iterable[tuple[str, str]]:
    """Video ids of every accepted pair, and of every two clips with one signature."""
    holders: dict[int, list[str]] = defaultdict(list)
    facts = index.library.take("facts", np.arange(index.library.clips), ("signature", "video_id"))
    for signature, video in zip(facts["signature"].to_pylist(), facts["video_id"].to_pylist(), strict=True):
        holders[signature].append(video)
    matches = index.matches.take(index.matches.accepted)
    for short, long in zip(matches.short.tolist(), matches.long.tolist(), strict=True):
        yield from ((a, b) for a in holders[short] for b in holders[long])
    for same in holders.values():
        yield from ((a, b) for i, a in enumerate(same) for b in same[i + 1 :])


def generate(folder: Path) -> Path:
    """Writes a video per photograph of the demo into `folder`."""
    for name, photo in photographs().items():
        encode(folder / f"{name}.mp4", film([(pan(photo, (0.3, 0.4, 1.0), (0.7, 0.6, 1.4)), 5.0)]), tone=None)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="folders of distinct videos, or single videos")
    parser.add_argument("--seconds", type=float, default=10.0, help="how much of each video is copied")
    parser.add_argument("--method", default=Dedup().method, help="phash, dhash, ahash or whash")
    parser.add_argument("--distance", type=int, default=Dedup().distance, help="largest distance of a match")
    parser.add_argument("--no-center", action="store_true", help="without the hashes of the central part")
    options = parser.parse_args()
    given = {"method": options.method, "distance": options.distance, "center": not options.no_center, "flipped": True}
    params = Dedup.model_validate(given)
    with tempfile.TemporaryDirectory() as folder:
        videos = sorted(
            file
            for path in options.folders or [generate(Path(folder))]
            for file in (path.iterdir() if path.is_dir() else [path])
            if file.suffix in SUFFIXES
        )
        start = os.times()
        judgement = compare_copies(videos, params, options.seconds, [*COPIES, *SLIGHT, *CUTS])
        end = os.times()
    for kind in (*COPIES, *SLIGHT, *CUTS):
        missed = ", ".join(judgement.missed[kind])
        print(
            f"{kind:26s} {judgement.recall(kind):6.3f} of {judgement.made[kind]}{f'; missed {missed}' if missed else ''}"
        )
    print(f"false merges: {len(judgement.false)}", *(" = ".join(p) for p in judgement.false), sep="\n  ")
    print(f"{end.user + end.system - start.user - start.system:.0f} CPU s, copying included")


if __name__ == "__main__":
    main()
