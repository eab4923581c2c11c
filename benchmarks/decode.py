"""Cost of the decode pass: `python -m benchmarks.decode [folder or file ...] [--parts pass,tables,inputs,levers,floor,scenedetect,stages]`.

Prints CPU seconds (user and system, of this process and of those it starts) and their ratio to a plain single-threaded PyAV decode of the
same files, file after file in the same run, so that a busy machine slows all of them alike. Without files, two videos are generated.

pass
    Everything: cuts, frames, motion, quality and fingerprints; the share of the shot network apart.
tables
    The pass for each table alone. Every table needs the clips, so `clips` is in all of them.
inputs
    Everything with the input of a CLIP model kept beside each stored frame (`frames.model_input`, 224 x 224), as zstd and as JPEG: what it adds to the pass, and the
    milliseconds and bytes a stored frame, of which those of fitting and packing are clocked within the pass.
levers
    Decoding and handing out the tiny picture with the levers of docs/explanation/decode.md on and off.
floor
    The pass grown step by step: what is decoded at all, the pictures of it, shots without and with the network, JPEGs, all tables. Each step holds all before it.
scenedetect
    PySceneDetect's AdaptiveDetector with its own decoding, and nothing else.
stages
    The usual way: PySceneDetect, then ffmpeg with libx264 for each scene, then perceptual hash, Farneback flow at 2 fps and the sharpness of
    three frames, each opening the clip again.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import cv2
import numpy as np

from curation_assets.decode.analysis import analyse_video
from curation_assets.decode.analysis_results import TABLES, AnalysisParams, VideoFacts, VideoStats
from curation_assets.decode.clips import Clips
from curation_assets.decode.reading.media import OpenVideo
from curation_assets.decode.reading.reader import every_frame
from curation_assets.decode.reading.sampling import JpegWriter
from curation_assets.decode.reading.shown_frames import Decoding, Irregular
from curation_assets.decode.reading.sparse_reader import sparse_frames
from curation_resources.model_input import FILTERS, Fit, InputFormat, ModelInput

PARTS = ("pass", "tables", "inputs", "levers", "floor", "scenedetect", "stages")
KEPT: tuple[InputFormat, ...] = ("zstd", "jpeg")
CLIP = Fit(224, (224, 224), FILTERS["bicubic"])
SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v"})


def cpu_seconds() -> float:
    """User and system time of this process and of the children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in usages)


def plain(path: Path) -> int:
    """The baseline: every frame decoded on one thread, and dropped."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def whole_pass(
    path: Path, tables: tuple[str, ...] = TABLES, mode: str = "fast", detector: str = "cascade"
) -> VideoStats:
    params = AnalysisParams(clips=Clips.model_validate({"mode": mode, "detector": detector}))
    with tempfile.TemporaryFile() as spool:
        return analyse_video(path, params, VideoFacts("benchmark", path.stem), tables, spool).stats


@dataclass
class Kept:
    """What inputs that are kept beside frames took, over all videos.

    Attributes:
        frames, bytes, pictures: stored frames, bytes of their inputs and of themselves.
        seconds: CPU seconds in which they were made.
        by_video: mean bytes of a video's inputs.
        by_height: height of a video's pictures -> CPU seconds of each of its inputs.
    """

    frames: int = 0
    bytes: int = 0
    pictures: int = 0
    seconds: float = 0.0
    by_video: list[float] = field(default_factory=list)
    by_height: dict[int, list[float]] = field(default_factory=dict)

    def by(self, path: Path, form: InputFormat) -> None:
        """The whole pass over a video with inputs of a format."""
        params, made = AnalysisParams(inputs=(ModelInput(CLIP, form),)), JpegWriter._made

        def clocked(writer: JpegWriter, frame: av.VideoFrame, *given: Any) -> list[bytes]:
            began = time.thread_time()
            found = made(writer, frame, *given)
            spent = time.thread_time() - began
            self.seconds += spent
            self.by_height.setdefault(frame.height, []).append(spent)
            return found

        with tempfile.TemporaryFile() as spool, patch.object(JpegWriter, "_made", clocked):
            rows = analyse_video(path, params, VideoFacts("benchmark", path.stem), TABLES, spool).rows["frames"]
        pictures = {row["frame"]: row for row in rows if row["inputs"]}
        self.frames += len(pictures)
        self.pictures += sum(row["size"] for row in pictures.values())
        own = sum(i["size"] for row in pictures.values() for i in row["inputs"])
        self.bytes += own
        if pictures:
            self.by_video.append(own / len(pictures))


def hand_out(path: Path, *, sparse: bool, exact: bool = False) -> None:
    """Decodes a video and makes the tiny picture of every frame."""
    with OpenVideo(path) as video:
        try:
            for shown in sparse_frames(video, Decoding()) if sparse else every_frame(video, Decoding(), exact=exact):
                shown.picture.tiny_rgb  # noqa: B018 - made when asked for
            return
        except Irregular:
            pass
    hand_out(path, sparse=False)


def references_only(path: Path) -> None:
    """Decodes what FFmpeg's own switch leaves: the lower bound of sparse decoding, which blends and refines nothing."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.skip_frame = "NONREF"
        for _ in container.decode(stream):
            pass


def unasked(_: object, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In place of the shot network's scores: no boundary anywhere, for nothing."""
    none = np.zeros(len(frames), np.float32)
    return none, none


def converted(path: Path) -> None:
    """Decodes every frame and converts each to a full-size BGR array, as OpenCV and PySceneDetect do."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            frame.to_ndarray(format="bgr24")


def scenes(path: Path) -> list[tuple[float, float]]:
    """PySceneDetect's scenes in seconds; the whole video if it finds no cut."""
    from scenedetect import AdaptiveDetector, SceneManager, open_video

    manager = SceneManager()
    manager.add_detector(AdaptiveDetector())
    manager.detect_scenes(open_video(str(path)))
    return [(a.seconds, b.seconds) for a, b in manager.get_scene_list(start_in_scene=True)]


def stage_by_stage(path: Path) -> None:
    """Detect, cut, then hash, flow and sharpness, each from the clip's own file."""
    import imageio_ffmpeg

    with tempfile.TemporaryDirectory() as folder:
        for number, (start, end) in enumerate(scenes(path)):
            if end - start < 2:
                continue
            clip = Path(folder) / f"{number}.mp4"
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-ss", f"{start}", "-i", str(path)]
            subprocess.run([*command, "-t", f"{end - start}", "-map", "0:v:0", str(clip)], check=True, timeout=600)
            _hash(clip)
            _flow(clip)
            _sharpness(clip)


def _hash(clip: Path) -> None:
    from curation_resources.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    from imagededup.methods import PHash

    hasher = PHash(verbose=False)
    for frame in _seek(clip, (0.5,)):
        hasher.encode_image(image_array=cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


def _flow(clip: Path) -> None:
    capture = cv2.VideoCapture(str(clip))
    step, before, index = max(1, round((capture.get(cv2.CAP_PROP_FPS) or 25) / 2)), None, 0
    while (read := capture.read())[0]:
        if index % step == 0:
            grey = cv2.cvtColor(cv2.resize(read[1], (320, 180)), cv2.COLOR_BGR2GRAY)
            if before is not None:
                cv2.calcOpticalFlowFarneback(before, grey, None, 0.5, 3, 15, 3, 5, 1.2, 0)
            before = grey
        index += 1
    capture.release()


def _sharpness(clip: Path) -> None:
    for frame in _seek(clip, (0.1, 0.5, 0.9)):
        cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var()


def _seek(clip: Path, places: tuple[float, ...]) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(clip))
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    for place in places:
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(count * place))
        read, frame = capture.read()
        if read:
            yield frame
    capture.release()


def generate(folder: Path) -> list[Path]:
    """Two videos of panned noise textures with a cut every four seconds: 640x360 and 1280x720, 24 s each."""
    paths = []
    rng = np.random.default_rng(0)
    for width, height in ((640, 360), (1280, 720)):
        path = folder / f"generated_{height}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for index in range(600):
                if index % 100 == 0:
                    coarse = rng.integers(0, 256, (height // 20, width // 10, 3), np.uint8)
                    texture = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
                shift = 2 * (index % 100)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(texture[:, shift : shift + width]), "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        paths.append(path)
    return paths


class Costs:
    """CPU seconds by name, in the order in which names first came up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, name: str, work: Callable[[], object]) -> object:
        before = cpu_seconds()
        result = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + cpu_seconds() - before
        return result

    def show(self, baseline: str) -> None:
        base = self.seconds[baseline]
        for name, seconds in self.seconds.items():
            print(f"{name:58} {seconds:8.2f} s {seconds / base:7.2f} x")


def measure(paths: list[Path], parts: tuple[str, ...]) -> None:
    cv2.setNumThreads(1)
    costs, baseline = Costs(), "plain PyAV decode, one thread"
    total = VideoStats("all")
    kept = {form: Kept() for form in KEPT}
    if {"pass", "tables", "inputs", "floor"} & set(parts):
        from curation_assets.decode.shots.transnet_whole import WholeTransNet, network

        shots = network()
    if "inputs" in parts and paths:  # what is not compiled or loaded yet is, so that it counts for none
        Kept().by(paths[0], "zstd")
    elif "floor" in parts and paths:
        whole_pass(paths[0])
    for path in paths:
        costs.run(baseline, partial(plain, path))
        if {"pass", "inputs"} & set(parts):
            before = shots.seconds
            stats = costs.run("pass: everything", partial(whole_pass, path))
            assert isinstance(stats, VideoStats)
            costs.seconds["  of which the shot network"] = (
                costs.seconds.get("  of which the shot network", 0.0) + shots.seconds - before
            )
            for name in (
                "frames",
                "decoded",
                "decoded_again",
                "blended",
                "network_frames",
                "fetched",
                "looked_again",
                "clips",
                "seconds",
            ):
                setattr(total, name, getattr(total, name) + getattr(stats, name))
        if "inputs" in parts:
            for form, of_form in kept.items():
                costs.run(f"pass: everything, and inputs of a model as {form}", partial(of_form.by, path, form))
        if "tables" in parts:
            for table in TABLES:
                costs.run(f"pass: {table} alone", partial(whole_pass, path, (table,)))
            costs.run("pass: everything, content detector", partial(whole_pass, path, detector="content"))
            costs.run(
                "pass: everything, content detector, exact", partial(whole_pass, path, mode="exact", detector="content")
            )
        if "levers" in parts:
            costs.run("lever: full-size BGR of every frame", partial(converted, path))
            costs.run("lever: tiny picture of every frame", partial(hand_out, path, sparse=False, exact=True))
            costs.run("lever: and no loop filter where nothing refers", partial(hand_out, path, sparse=False))
            costs.run("lever: and only frames that are referred to, refined", partial(hand_out, path, sparse=True))
            costs.run("lever: bound of the last, bare decode of those frames", partial(references_only, path))
        if "floor" in parts:
            costs.run("floor: bare decode of frames that are referred to", partial(references_only, path))
            costs.run("floor: and tiny pictures, blended and refined", partial(hand_out, path, sparse=True))
            with patch.object(WholeTransNet, "scores", unasked):
                costs.run("floor: and shots, the network given away", partial(whole_pass, path, ("clips",)))
            costs.run("floor: and the network", partial(whole_pass, path, ("clips",)))
            costs.run("floor: and JPEGs", partial(whole_pass, path, ("clips", "frames")))
            costs.run("floor: and motion, quality and fingerprints: everything", partial(whole_pass, path))
        if "scenedetect" in parts:
            costs.run("PySceneDetect alone, adaptive", partial(scenes, path))
        if "stages" in parts:
            costs.run("stage by stage", partial(stage_by_stage, path))
    costs.show(baseline)
    if total.frames:
        cpu_s = costs.seconds["pass: everything"]
        print(
            f"\n{len(paths)} videos, {total.seconds:.0f} s, {total.frames} frames: {total.decoded} decoded, {total.decoded_again} by the second "
            f"decoder, {total.blended} blended; {total.network_frames} pictures through the network; {total.clips} clips; "
            f"{total.fetched} samples by seeking, {total.looked_again} frames looked at again; {total.seconds / cpu_s:.0f} s of video per CPU second"
        )
    for form, of_form in kept.items():
        if of_form.frames:
            low, high = np.quantile(of_form.by_video, [0.1, 0.9])
            with_them = costs.seconds[f"pass: everything, and inputs of a model as {form}"]
            print(
                f"inputs as {form}: {with_them / costs.seconds['pass: everything']:.3f} of the pass without; {1e3 * of_form.seconds / of_form.frames:.2f} CPU ms a stored frame, "
                f"{of_form.seconds / with_them:.3f} of the pass with them; {of_form.bytes / of_form.frames:,.0f} bytes (of videos {low:,.0f} to {high:,.0f}: tenth and ninetieth percentile) beside {of_form.pictures / of_form.frames:,.0f} of the picture "
                f"({of_form.bytes / of_form.pictures:.2f}), {of_form.frames} frames"
            )
            each = ", ".join(f"{h}: {1e3 * np.mean(t):.1f} ({len(t)})" for h, t in sorted(of_form.by_height.items()))
            print(f"  CPU ms an input by height of the pictures, and how many: {each}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="videos, or folders of them")
    parser.add_argument("--parts", default="pass,levers", help=f"comma-separated, of {', '.join(PARTS)}, or all")
    arguments = parser.parse_args()
    parts = PARTS if arguments.parts == "all" else tuple(arguments.parts.split(","))
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            file
            for path in arguments.paths
            for file in (
                sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
            )
        ]
        measure(paths or generate(Path(folder)), parts)


if __name__ == "__main__":
    main()
