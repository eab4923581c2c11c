"""CPU seconds of `cut: exact`, `smart` and `copy` in one run, and whether every copied picture is the source's.

    python -m benchmarks.cuts [FOLDER ...] [--seconds N]

Without a folder a video is generated. Videos are *.mp4, *.mov, *.mkv, *.ts and *.webm of the folders. Each is cut into the clips that the default recipe detects, or with `--seconds` into
clips of that length, one after the other from the start, whose cuts know nothing of key frames. For each video the three ways follow each
other at once, with the recipe's defaults (libx264 veryfast, CRF 18, AAC).

All frames of all smart clips are decoded, and those of the source, and compared sample by sample; that is not counted. What the clips' own
proof takes is measured by its calls: reading the file back, decoding about the seams, and hashing. What clips cost that are encoded whole is told by
the reason: what a video costs beside putting clips together, shared among those by their frames.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.export import cpu, cuts_of, generate
from curation_assets.decode.analysis import analyse_video
from curation_assets.decode.analysis_results import AnalysisParams, VideoFacts
from curation_assets.decode.reading.clip_frames import ClipReader
from curation_assets.decode.reading.media import OpenVideo
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting import smart_clip, video_cutting
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.seams import seams_of
from curation_assets.publish.cutting.video_cutting import cut_video
from curation_assets.publish.cutting.video_task import CutClip, VideoCuts
from curation_resources.media import MediaRef
from curation_resources.storage import Storage

WAYS = ("exact", "smart", "copy")
ENDINGS = frozenset({".mp4", ".mov", ".mkv", ".ts", ".webm"})
PROOF = ("_wanted", "check_seams", "digest")
"""Functions of `smart_clip` that prove a clip."""
TOGETHER = "smart_clip"
"""That of `video_cutting` which puts a clip together, or finds that it cannot be."""


def detected(path: Path) -> list[ClipToCut]:
    """The clips that the default recipe has of a video."""
    with open(path, "rb") as file, tempfile.TemporaryFile() as spool:
        found = analyse_video(file, AnalysisParams(), VideoFacts("", path.stem), ("clips",), spool)
    cuts = []
    for row in found.rows["clips"]:
        if row["status"] == "ok":
            key = f"{path.stem}_{row['start_ms']}"
            span = row["start_ms"], row["end_ms"], row["start_frame"], row["end_frame"]
            cuts.append(ClipToCut("b", path.stem, key, None, key, "train", *span, None, None, key))
    return cuts


@contextmanager
def timed(spent: Counter[str]) -> Iterator[None]:
    """Adds the CPU seconds of the proof to `spent` while the block runs."""
    kept = {(smart_clip, name): getattr(smart_clip, name) for name in PROOF}
    kept[video_cutting, TOGETHER] = getattr(video_cutting, TOGETHER)

    def watch(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            before = time.process_time()
            try:
                return call(*arguments)
            finally:
                spent[name] += time.process_time() - before

        return watched

    for (module, name), call in kept.items():
        setattr(module, name, watch(name, call))
    try:
        yield
    finally:
        for (module, name), call in kept.items():
            setattr(module, name, call)


def compared(path: Path, cut: ClipToCut, clip: CutClip) -> tuple[int, int, int]:
    """Of a smart clip: pictures that were copied, how many of them are the source's sample by sample, and wrong times and counts."""
    with OpenVideo(str(path), deinterlace=False) as video:
        seams = seams_of(video, cut)
    with ClipReader(str(path), deinterlace=False) as reader:
        source = [f.frame.to_ndarray() for f in reader.frames(cut.start_ms, cut.end_ms)]
    with ClipReader(clip.path or "", deinterlace=False) as reader:
        made = [(f.time_ms, f.frame.to_ndarray()) for f in reader.frames(0, 1 << 40)]
    first, end = len(seams.head), len(source) - len(seams.tail)
    same = sum(np.array_equal(source[n], made[n][1]) for n in range(first, min(end, len(made))))
    shown = [round(1000 * float((t - seams.shown[0]) * seams.timing.time_base)) for t in seams.shown]
    wrong = abs(len(made) - len(source)) + sum(
        abs(a - b) > 1 for a, b in zip(shown, (t for t, _ in made), strict=False)
    )
    return end - first, same, wrong


def compare(folders: Sequence[Path], seconds: float | None) -> None:
    """Cuts all videos of the folders in the three ways, and prints what that took and gave."""
    spent: Counter[str] = Counter()
    told: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    cost: dict[str, float] = {}
    videos = sorted(p for folder in folders for p in folder.iterdir() if p.suffix in ENDINGS)
    for path in videos:
        cuts = cuts_of(path, seconds) if seconds else detected(path)
        with tempfile.TemporaryDirectory(prefix="cuts-bench-") as scratch:
            made: dict[str, list[CutClip]] = {}
            before = dict(spent)
            for way in WAYS:
                folder = Path(scratch) / way
                folder.mkdir()
                task = VideoCuts(Storage(scratch), MediaRef(str(path)), tuple(cuts), ClipExport(cut=way), str(folder))
                with timed(spent):
                    begun = cpu()
                    made[way] = cut_video(task)
                    spent[way] += cpu() - begun
                told[f"{way} failed"] += sum(c.error is not None for c in made[way])
                told[f"{way} bytes"] += sum(Path(c.path).stat().st_size for c in made[way] if c.path)
            whole = {c.key: c.frames or 0 for c in made["smart"] if c.cut != "smart"}
            beside = spent["smart"] - before.get("smart", 0) - (spent[TOGETHER] - before.get(TOGETHER, 0))
            for cut, clip in zip(cuts, made["smart"], strict=True):
                told["clips"] += 1
                told["frames"] += clip.frames or 0
                told["encoded"] += clip.encoded_frames or 0
                if clip.cut == "smart":
                    copied, same, wrong = compared(path, cut, clip)
                    told["smart clips"] += 1
                    for name, count in (("copied", copied), ("same", same), ("wrong", wrong)):
                        told[name] += count
                else:
                    reason = clip.encoded_because or clip.error or ""
                    reasons[reason] += 1
                    share = whole[clip.key] / max(1, sum(whole.values()))
                    cost[reason] = cost.get(reason, 0.0) + share * beside
        took = " / ".join(f"{spent[way] - before.get(way, 0):.2f}" for way in WAYS)
        print(f"{path.name}: {len(cuts)} clips, {took} CPU s", flush=True)
    proof = sum(spent[name] for name in PROOF)
    print(f"{told['clips']} clips of {len(videos)} videos, {told['frames']} frames")
    for way in WAYS:
        ratio = spent[way] / spent["exact"]
        print(
            f"cut: {way:6}{spent[way]:8.2f} CPU s  {ratio:.3f}  {told[f'{way} bytes'] / 1e6:8.1f} MB  {told[f'{way} failed']} failed"
        )
    print(
        f"smart: {told['smart clips']} clips, {told['encoded']} frames encoded in all; proof {proof / spent['exact']:.3f} of exact"
    )
    print(
        f"{told['same']} of {told['copied']} copied frames are the source's, {told['same'] / max(1, told['frames']):.3f} of all; {told['wrong']} wrong times or counts"
    )
    print(f"{spent[TOGETHER] / spent['exact']:.3f} of exact for putting clips together")
    for reason, count in reasons.most_common():
        print(f"  {count} encoded, {cost[reason] / spent['exact']:.3f} of exact: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, help="folders of videos")
    parser.add_argument("--seconds", type=float, help="length of clips; without it those that are detected")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cuts-bench-") as scratch:
        if not options.folders:
            generate(Path(scratch) / "generated.mp4")
        compare(options.folders or [Path(scratch)], options.seconds)


if __name__ == "__main__":
    main()
