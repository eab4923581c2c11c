"""CPU seconds of cutting clips out of a video, in one run: one decode for all clips, one ffmpeg process per clip, and video2dataset's way.

    python -m benchmarks.export [FOLDER] [--seconds 3] [--preset medium] [--crf 23] [--short-side N]

Without a folder a video is generated. All ways cut every video into clips of the given length, one after the other from the start, with
libx264 and AAC. ffmpeg is that of `imageio-ffmpeg`; a process per clip has `-ss` before `-i`, `-t` and one thread.

video2dataset 1.3 (its `ClippingSubsampler`; the package is not installed, its commands are repeated) runs one process per video with the
segment muxer and gives the encoder no options, so that libx264 is at its own preset, quality and threads: medium, CRF 23, which are the
defaults here too. `precision: exact` forces key frames at the cuts; `low`, which it has where nothing is said, copies the stream and is set
against `cut: copy`. With `--short-side` its `ResolutionSubsampler` follows, which encodes each clip once more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from curation_assets.decode.reading.clip_frames import ClipReader
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.video_cutting import cut_video
from curation_assets.publish.cutting.video_task import VideoCuts
from curation_resources.media import MediaRef
from curation_resources.storage import Storage


def cpu() -> float:
    """User and system seconds of this process and of those it has waited for."""
    return sum(os.times()[:4])


def generate(path: Path, seconds: int = 30) -> None:
    """A moving texture at 640x360, 25 frames a second, with a tone."""
    noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    with av.open(str(path), "w") as output:
        picture = output.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        picture.width, picture.height, picture.pix_fmt = 640, 360, "yuv420p"
        sound = output.add_stream("aac", rate=44_100)
        for number in range(25 * seconds):
            image = np.roll(noise, number // 2, axis=1).repeat(4, axis=0).repeat(4, axis=1)
            output.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(picture.encode(None))
        tone = np.sin(np.arange(44_100 * seconds) / 16).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 44_100
        output.mux([*sound.encode(frame), *sound.encode(None)])


def cuts_of(path: Path, seconds: float) -> list[ClipToCut]:
    """Clips one after the other over the whole video, with their frame numbers."""
    with ClipReader(str(path)) as reader:
        times = [f.time_ms for f in reader.frames(0, 1 << 40)]
    step = round(1000 * seconds)
    cuts = []
    for start in range(0, times[-1] - step, step):
        first, end = (int(np.searchsorted(times, t)) for t in (start, start + step))
        key = f"{path.stem}_{start}"
        cuts.append(
            ClipToCut("b", path.stem, key, None, key, "train", times[first], times[end], first, end, None, None, key)
        )
    return cuts


def frames_in(path: Path) -> int:
    """Decoded frames of a file."""
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def scale(path: Path, short_side: int) -> str:
    """ffmpeg's filter that brings the short side to so many pixels."""
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        return f"scale=-2:{short_side}" if stream.width > stream.height else f"scale={short_side}:-2"


def wrong_in(files: list[Path], cuts: list[ClipToCut]) -> int:
    """How many files are missing or have another number of frames than they should."""
    wanted = [(cut.end_frame or 0) - (cut.start_frame or 0) for cut in cuts]
    return sum(not file.exists() or frames_in(file) != count for file, count in zip(files, wanted, strict=True))


def with_ffmpeg(path: Path, cuts: list[ClipToCut], params: ClipExport, folder: Path) -> tuple[float, int]:
    """CPU seconds of a process per clip, and how many clips have another number of frames than they should."""
    import imageio_ffmpeg

    binary, before = imageio_ffmpeg.get_ffmpeg_exe(), cpu()
    codecs = ["-c:v", "libx264", "-preset", params.preset, "-crf", str(params.crf), "-threads", "1", "-c:a", "aac"]
    if params.short_side:
        codecs = ["-vf", scale(path, params.short_side), *codecs]
    if params.cut == "copy":
        codecs = ["-c", "copy"]
    for cut in cuts:
        span = ["-ss", f"{cut.start_ms / 1000:.3f}", "-i", str(path), "-t", f"{(cut.end_ms - cut.start_ms) / 1000:.3f}"]
        target = str(folder / f"{cut.key}.mp4")
        subprocess.run(
            [binary, "-loglevel", "error", "-threads", "1", *span, *codecs, target],
            check=True,
            capture_output=True,
            timeout=600,
        )
    spent = cpu() - before
    return spent, wrong_in([folder / f"{cut.key}.mp4" for cut in cuts], cuts)


def with_segments(path: Path, cuts: list[ClipToCut], params: ClipExport, folder: Path) -> tuple[float, int]:
    """The same of video2dataset's commands; clips that lie one after the other from the start are the first segments."""
    import imageio_ffmpeg

    binary, before = imageio_ffmpeg.get_ffmpeg_exe(), cpu()
    times = ",".join(str(cut.end_ms / 1000) for cut in cuts)
    how = ["-c", "copy"] if params.cut == "copy" else ["-force_key_frames", times]
    split = ["-f", "segment", *how, "-map", "0", "-reset_timestamps", "1", "-segment_times", times]
    calls = [["-i", str(path), *split, str(folder / "clip_%d.mp4")]]
    if params.short_side:
        shape = f"[0]{scale(path, params.short_side)}[s]"
        for n in range(len(cuts)):
            source, target = str(folder / f"clip_{n}.mp4"), str(folder / f"scaled_{n}.mp4")
            calls.append(["-i", source, "-filter_complex", shape, "-map", "[s]", "-reset_timestamps", "1", target])
    for call in calls:
        subprocess.run([binary, "-loglevel", "error", *call], check=True, capture_output=True, timeout=600)
    spent = cpu() - before
    name = "scaled" if params.short_side else "clip"
    return spent, wrong_in([folder / f"{name}_{n}.mp4" for n in range(len(cuts))], cuts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="folder of videos (*.mp4)")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--preset", default="medium")
    parser.add_argument("--crf", type=int, default=23)
    parser.add_argument("--short-side", type=int, help="scale the clips")
    parser.add_argument("--cut", choices=["exact", "copy"], default="exact")
    options = parser.parse_args()
    params = ClipExport(preset=options.preset, crf=options.crf, short_side=options.short_side, cut=options.cut)
    names = ("one decode per video", "one ffmpeg per clip", "video2dataset's way")
    seconds, megabytes, wrong = [0.0] * 3, [0.0] * 3, [0] * 3
    videos_cut = clips = 0
    wall = 0.0
    with tempfile.TemporaryDirectory(prefix="export-bench-") as scratch:
        root = Path(scratch)
        if options.folder is None:
            generate(root / "generated.mp4")
        videos = sorted((options.folder or root).glob("*.mp4"))
        for video in videos:
            cuts = cuts_of(video, options.seconds)
            folders = [root / n / video.stem for n in "abc"]
            for folder in folders:
                folder.mkdir(parents=True)
            before, start = cpu(), time.perf_counter()
            made = cut_video(VideoCuts(Storage(str(root)), MediaRef(str(video)), tuple(cuts), params, str(folders[0])))
            spent, wall = cpu() - before, wall + time.perf_counter() - start
            paths = {clip.key: Path(clip.path) for clip in made if clip.path is not None}
            off = wrong_in([paths.get(cut.key, folders[0] / "failed") for cut in cuts], cuts)
            try:
                theirs = [with_ffmpeg(video, cuts, params, folders[1]), with_segments(video, cuts, params, folders[2])]
            except subprocess.CalledProcessError as error:
                print(f"{video.name}: left out, ffmpeg fails: {error.stderr.decode().splitlines()[0]}", flush=True)
                continue
            done = [(spent, off), *theirs]
            for n, (spent, off) in enumerate(done):
                seconds[n], wrong[n] = seconds[n] + spent, wrong[n] + off
                files = folders[n].glob("scaled_*.mp4" if n == 2 and params.short_side else "*.mp4")
                megabytes[n] += sum(f.stat().st_size for f in files) / 1e6
            clips, videos_cut = clips + len(cuts), videos_cut + 1
            print(
                f"{video.name}: {len(cuts)} clips, {' and '.join(f'{spent:.2f}' for spent, _ in done)} CPU s",
                flush=True,
            )
    how = "streams copied" if params.cut == "copy" else f"preset {params.preset}, crf {params.crf}"
    print(f"{clips} clips of {videos_cut} videos, {how}, short side {params.short_side or 'as it is'}")
    for name, spent, size, off in zip(names, seconds, megabytes, wrong, strict=True):
        print(f"{name:22}{spent:8.2f} CPU s{size:8.1f} MB   {off} clips with another number of frames")
    print(f"ratios {seconds[1] / seconds[0]:.2f} and {seconds[2] / seconds[0]:.2f}; the first took {wall:.1f} s wall")


if __name__ == "__main__":
    main()
