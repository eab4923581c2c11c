"""CPU seconds of cutting clips out of a video: one decode for all clips, against one ffmpeg process per clip, in one run.

    python -m benchmarks.export [FOLDER] [--seconds 3] [--preset veryfast] [--crf 18]

Without a folder a video is generated. Both ways cut every video into clips of the given length with libx264 at the same preset and
quality, one thread, and AAC sound. ffmpeg is that of `imageio-ffmpeg`, called in two ways: `-ss` before `-i`, `-t`, a process for every clip;
and a process per video with the segment muxer and forced key frames, as video2dataset's ClippingSubsampler does it for `precision: exact`
(its call is repeated here, the package itself is not installed). Frames are counted too.
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

from curation_assets.recipes import ClipExport
from curation_assets.stages.clip_frames import ClipReader
from curation_assets.stages.export_clips import Cut, VideoCuts, cut_video
from resources.storage import MediaRef, Storage


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


def cuts_of(path: Path, seconds: float) -> list[Cut]:
    """Clips one after the other over the whole video, with their frame numbers."""
    with ClipReader(str(path)) as reader:
        times = [f.time_ms for f in reader.frames(0, 1 << 40)]
    step = round(1000 * seconds)
    cuts = []
    for start in range(0, times[-1] - step, step):
        first, end = (int(np.searchsorted(times, t)) for t in (start, start + step))
        key = f"{path.stem}_{start}"
        cuts.append(Cut("b", path.stem, key, None, key, "train", times[first], times[end], first, end, None, None, key))
    return cuts


def frames_in(path: Path) -> int:
    """Decoded frames of a file."""
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def with_ffmpeg(path: Path, cuts: list[Cut], params: ClipExport, folder: Path) -> tuple[float, int]:
    """CPU seconds of a process per clip, and how many clips have another number of frames than they should."""
    import imageio_ffmpeg

    binary, before = imageio_ffmpeg.get_ffmpeg_exe(), cpu()
    for cut in cuts:
        span = ["-ss", f"{cut.start_ms / 1000:.3f}", "-i", str(path), "-t", f"{(cut.end_ms - cut.start_ms) / 1000:.3f}"]
        codecs = ["-c:v", "libx264", "-preset", params.preset, "-crf", str(params.crf), "-threads", "1", "-c:a", "aac"]
        target = str(folder / f"{cut.key}.mp4")
        subprocess.run(
            [binary, "-y", "-loglevel", "error", "-threads", "1", *span, *codecs, target], check=True, timeout=600
        )
    spent = cpu() - before
    wrong = sum(frames_in(folder / f"{c.key}.mp4") != (c.end_frame or 0) - (c.start_frame or 0) for c in cuts)
    return spent, wrong


def with_segments(path: Path, cuts: list[Cut], params: ClipExport, folder: Path) -> tuple[float, int]:
    """The same of one process for all clips, which lie one after the other from the start: the segment muxer at forced key frames."""
    import imageio_ffmpeg

    times = ",".join(f"{cut.end_ms / 1000:.3f}" for cut in cuts)
    codecs = ["-c:v", "libx264", "-preset", params.preset, "-crf", str(params.crf), "-threads", "1", "-c:a", "aac"]
    split = ["-f", "segment", "-segment_times", times, "-force_key_frames", times, "-reset_timestamps", "1"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-threads", "1", "-i", str(path)]
    before = cpu()
    subprocess.run(
        [*command, "-map", "0:v:0", "-map", "0:a?", *codecs, *split, str(folder / "clip_%d.mp4")],
        check=True,
        timeout=600,
    )
    spent = cpu() - before
    wrong = 0
    for number, cut in enumerate(cuts):
        file = folder / f"clip_{number}.mp4"
        wrong += not file.exists() or frames_in(file) != (cut.end_frame or 0) - (cut.start_frame or 0)
    return spent, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="folder of videos")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--crf", type=int, default=18)
    options = parser.parse_args()
    params = ClipExport(preset=options.preset, crf=options.crf)
    with tempfile.TemporaryDirectory(prefix="export-bench-") as scratch:
        root = Path(scratch)
        if options.folder is None:
            generate(root / "generated.mp4")
        videos = sorted((options.folder or root).glob("*.mp4"))
        ours = theirs = segments = 0.0
        clips = failed = wrong = apart = 0
        size = [0, 0]
        for video in videos:
            cuts = cuts_of(video, options.seconds)
            a, b, c = (root / n / video.stem for n in "abc")
            for folder in (a, b, c):
                folder.mkdir(parents=True)
            before, wall = cpu(), time.perf_counter()
            done = cut_video(VideoCuts(Storage(str(root)), MediaRef(str(video)), tuple(cuts), params, str(a)))
            spent, wall = cpu() - before, time.perf_counter() - wall
            other, off = with_ffmpeg(video, cuts, params, b)
            whole, odd = with_segments(video, cuts, params, c)
            segments, apart = segments + whole, apart + odd
            ours, theirs, clips, wrong = ours + spent, theirs + other, clips + len(cuts), wrong + off
            failed += sum(clip.error is not None for clip in done)
            size[0] += sum(f.stat().st_size for f in a.glob("*.mp4"))
            size[1] += sum(f.stat().st_size for f in b.glob("*.mp4"))
            print(
                f"{video.name}: {len(cuts)} clips, {spent:.2f} against {other:.2f} and {whole:.2f} CPU s ({wall:.1f} s wall)"
            )
    print(f"{clips} clips of {len(videos)} videos, preset {params.preset}, crf {params.crf}")
    print(f"one decode per video   {ours:8.2f} CPU s   {size[0] / 1e6:7.1f} MB   {failed} clips failed")
    print(
        f"one ffmpeg per clip    {theirs:8.2f} CPU s   {size[1] / 1e6:7.1f} MB   {wrong} with another number of frames"
    )
    print(f"one ffmpeg per video   {segments:8.2f} CPU s   {'':7}      {apart} with another number of frames")
    print(f"ratios {theirs / ours:.2f} and {segments / ours:.2f}")


if __name__ == "__main__":
    main()
