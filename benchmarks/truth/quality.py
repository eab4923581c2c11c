"""Frozen shares and blur: pictures that freeze for known shares of a clip, and pictures blurred by known amounts.

Beside `frozen`, FFmpeg's freezedetect at its own threshold of -60 dB and at -45 dB, runs of half a second as here. Beside `edge_blur`, the variance
of the Laplacian, which is `sharpness`, and scikit-image's blur_effect (Crete et al. 2007). The folder may have `videos/` and `panda/`; videos that
hardly change by themselves are left out. Without it, a camera pans over textures. The halves are by source video; the seed says which five seconds
of each video (0: the first).
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from skimage.measure import blur_effect

from benchmarks.truth import written
from benchmarks.truth.options import Options
from benchmarks.truth.rows import Row
from benchmarks.truth.single_shots import cover, half_of
from curation_assets.decode.measures.quality import QualityMeter
from curation_assets.decode.quality_scores import Quality
from curation_assets.decode.reading.media import Display
from curation_assets.decode.reading.picture import AnalysisPicture, PictureMaker
from curation_resources.x264 import repeatable

Plane = NDArray[np.uint8]
SIZE, RATE, FRAMES = (640, 360), 25, 125
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
CODED = ((18, 0), (23, 0), (28, 0), (33, 0), (38, 0), (23, 3), (23, 10), (30, 10))
"""Constant rate factor and deviation of the noise, levels."""
VIDEOS, FEW_VIDEOS = 12, 3
"""Of each half."""
LEAST_CHANGE = 0.5
"""Mean difference of neighbouring pictures, levels, of a video that is worth freezing."""
FREEZEDETECT = {"freezedetect -60 dB": "-60dB", "freezedetect -45 dB": "-45dB"}
STEPS = (1.0, 1.5, 2.0, 3.0, 4.0)
"""Deviations of the blur, in pixels of a picture whose long side is 320."""
BLURS: Mapping[str, Callable[[NDArray[np.float32], float], NDArray[np.float32]]] = {
    "Gaussian": lambda p, s: cv2.GaussianBlur(p, (0, 0), s),
    "box": lambda p, s: cv2.blur(p, (round(12**0.5 * s), round(12**0.5 * s))),
    "motion": lambda p, s: cv2.filter2D(p, -1, np.eye(round(12**0.5 * s), dtype=np.float32) / round(12**0.5 * s)),
    "enlarged": lambda p, s: cv2.resize(
        cv2.resize(p, None, fx=0.5 / s, fy=0.5 / s, interpolation=cv2.INTER_AREA), SIZE, interpolation=cv2.INTER_CUBIC
    ),
}
SPOILT: Mapping[str, Callable[[Plane], Plane]] = {
    "": lambda p: p,
    ", noise of 10 levels": lambda p: _noisy([p], 10)[0],
    ", JPEG at quality 15": lambda p: _jpeg(p, 15),
}


def measure(options: Options) -> Iterator[Row]:
    """A row for each way of coding what freezes, and for each kind of blur."""
    for half in options.halves:
        clips = list(_clips(options, half))
        for crf, noise in CODED:
            kind = f"frozen, CRF {crf}" + (f", noise of {noise} levels" if noise else "")
            if options.kinds in kind:
                yield _frozen(kind, half, clips, crf, noise)
        for name, blur in BLURS.items():
            for how, spoil in SPOILT.items():
                kind = f"{name} blur{how}"
                if options.kinds in kind and (not how or name == "Gaussian"):
                    yield _blurred(kind, half, [clip[len(clip) // 2] for clip in clips], blur, spoil)


def _frozen(kind: str, half: str, clips: Sequence[Sequence[Plane]], crf: int, noise: float) -> Row:
    off: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "clip.mp4"
        for clip in clips:
            for share in SHARES:
                still = round(len(clip) * share)
                moving = len(clip) - still
                _write(path, _noisy([*clip[:moving], *[clip[max(0, moving - 1)]] * still], noise), crf)
                for system, found in _shares(path).items():
                    off.setdefault(system, []).append(abs(found - still / len(clip)))
    found = {system: f"{np.mean(values):.3f} (at most {np.max(values):.2f})" for system, values in off.items()}
    figures = {s: {"mean error": float(np.mean(v)), "largest error": float(np.max(v))} for s, v in off.items()}
    return Row("quality", kind, half, f"0 to 1 of {len(off['stage'])} clips; mean error", found, figures)


def _shares(path: Path) -> dict[str, float]:
    meter, shown = QualityMeter(Quality()), []
    with av.open(path) as video:
        stream = video.streams.video[0]
        maker: PictureMaker | None = None
        for frame in video.decode(stream):
            maker = maker or PictureMaker(Display.of(frame, stream.sample_aspect_ratio))
            shown.append(1000 * float(frame.time or 0))
            if meter.wants(shown[-1]):
                meter.push(shown[-1], maker(frame))
    end_ms = len(shown) * 1000 / RATE
    found = {"stage": meter.scores(0, end_ms, shown)["frozen"] or 0.0}
    for name, threshold in FREEZEDETECT.items():
        filters = f"freezedetect=n={threshold}:d=0.5"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-threads", "1", "-i", str(path)]
        said = subprocess.run([*command, "-vf", filters, "-f", "null", "-"], capture_output=True, text=True, check=True)
        starts, ends = (
            [float(t) for t in re.findall(rf"freeze_{word}: ([\d.]+)", said.stderr)] for word in ("start", "end")
        )
        ends += [end_ms / 1000] * (len(starts) - len(ends))
        found[name] = sum(b - a for a, b in zip(starts, ends, strict=True)) / (end_ms / 1000)
    return found


def _blurred(
    kind: str,
    half: str,
    pictures: Sequence[Plane],
    blur: Callable[[NDArray[np.float32], float], NDArray[np.float32]],
    spoil: Callable[[Plane], Plane],
) -> Row:
    known, values = [], []
    for picture in pictures:
        for step in STEPS:
            spoilt = spoil(_plane(blur(picture.astype(np.float32), step * SIZE[0] / 320)))
            known.append(step)
            values.append(_blur_of(spoilt))
    ranked = {}
    for place, name in enumerate(("stage", "variance of the Laplacian", "blur_effect")):
        pairs = [(k, v) for k, found in zip(known, values, strict=True) if (v := found[place]) is not None]
        ranked[name] = (float(spearmanr(*zip(*pairs, strict=True)).statistic), len(known) - len(pairs))
    found = {name: f"{rank:.2f}" + (f" ({none} null)" if none else "") for name, (rank, none) in ranked.items()}
    figures = {name: {"rank correlation": rank, "null": float(none)} for name, (rank, none) in ranked.items()}
    return Row("quality", kind, half, f"{len(known)} pictures; rank correlation", found, figures)


def _blur_of(picture: Plane) -> tuple[float | None, float, float]:
    meter, shown = QualityMeter(Quality()), AnalysisPicture()
    shown.__dict__.update(
        luma=cv2.resize(picture, (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA),
        chroma_u=None,
        chroma_v=None,
    )
    meter.push(0, shown)
    scores = meter.scores(0, 1)
    return scores["edge_blur"], -float(scores["sharpness"] or 0), float(blur_effect(shown.luma))


def _clips(options: Options, half: str) -> Iterator[list[Plane]]:
    """Grey pictures (360, 640) of the seconds of each video that the seed says."""
    most = FEW_VIDEOS if options.small else VIDEOS
    if options.folder is None:
        for k in range(most):
            number = 2 * (VIDEOS * options.seed + k) + (half == "second")
            world = cv2.cvtColor(written.texture(number, 1300, 500), cv2.COLOR_RGB2GRAY)
            yield [np.ascontiguousarray(world[100:460, 20 + 4 * t : 660 + 4 * t]) for t in range(FRAMES)]
        return
    videos = [p for name in ("videos", "panda") for p in sorted((options.folder / name).glob("*.*"))]
    wanted = [p for p in videos if half_of(p.name) == half and p.suffix in (".mp4", ".webm", ".mov", ".avi", ".mkv")]
    for path in wanted:
        with av.open(path) as video:
            decoded = islice(video.decode(video=0), options.seed * FRAMES, (options.seed + 1) * FRAMES)
            clip = [cover(frame.to_ndarray(format="bgr24"), SIZE) for frame in decoded]
        grey = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in clip]
        if len(grey) < FRAMES:
            continue
        changes = [cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in pairwise(grey)]
        if np.quantile(changes, 0.1) >= LEAST_CHANGE:
            yield grey
            most -= 1
        if not most:
            return


def _write(path: Path, pictures: Sequence[Plane], crf: int) -> None:
    with av.open(path, "w") as video:
        options = {"crf": str(crf), "preset": "superfast", "g": "50", "threads": "1"} | repeatable()
        stream = video.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for picture in pictures:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")))
        video.mux(stream.encode())


def _noisy(pictures: Sequence[Plane], deviation: float) -> list[Plane]:
    rng = np.random.default_rng(0)
    if not deviation:
        return list(pictures)
    return [_plane(p + rng.normal(0, deviation, p.shape).astype(np.float32)) for p in pictures]


def _jpeg(picture: Plane, quality: int) -> Plane:
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)


def _plane(picture: NDArray[np.float32]) -> Plane:
    return np.clip(picture, 0, 255).round().astype(np.uint8)
