"""Accuracy and cost of the shot detectors: `python -m benchmarks.shots [folder] [--detectors cascade,content,...] [--episodes N]`.

The folder has `labels/cuts.json` and `assembled/*.cuts.json` and the videos they name, anywhere below it; without a folder, videos with
known transitions are generated. `--episodes` looks instead at so many episodes that are joined from the folder's single shots at random
(`--seed`), with cuts, dissolves and fades, in several codecs, frame rates and group lengths.

Every detector sees the same frames of one full decode. `graph, fast` and `graph, exact` are what the graph itself finds with the default
recipe: the whole decode pass, whose cost `benchmarks.decode` measures. The table has, for all videos and for a half of them (by a hash of
the name; docs/explanation/shots.md says what was chosen on which):

- F1 of hard cuts at a tolerance of one frame (or the label's own), with the number of false and of missed ones;
- how many dissolves and fades have a boundary in them;
- processor milliseconds a frame of the detector alone, its ratio to a plain single-threaded decode in the same run, and the share of
  frames that the network saw.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from curation_assets.decode.analysis import analyse_video
from curation_assets.decode.analysis_results import AnalysisParams, VideoFacts
from curation_assets.decode.clips import Clips
from curation_assets.decode.reading.media import Display
from curation_assets.decode.reading.picture import PictureMaker
from curation_assets.decode.shots import CutList, ShotDetector, make_detector

DETECTORS = (
    "cascade",
    "transnetv2",
    "content",
    "adaptive",
    "hash",
    "histogram",
    "threshold",
    "content+threshold",
    "adaptive+threshold",
)
GRAPH = {"graph, fast": "fast", "graph, exact": "exact"}
"""Row of the table -> `clips.mode`."""
NEAR = 1


@dataclass(frozen=True)
class Labels:
    """What is known of a video's transitions: hard cuts, intervals of gradual ones, intervals that do not count."""

    cuts: list[int] = field(default_factory=list)
    gradual: list[tuple[int, int]] = field(default_factory=list)
    ignored: list[tuple[int, int]] = field(default_factory=list)
    tolerance: int = NEAR


@dataclass
class Score:
    """Counts over videos, and what they cost."""

    hit: int = 0
    false: int = 0
    missed: int = 0
    gradual_found: int = 0
    gradual: int = 0
    frames: int = 0
    seconds: float = 0.0
    network_frames: float = 0.0

    @property
    def f1(self) -> float:
        return 2 * self.hit / max(1, 2 * self.hit + self.false + self.missed)

    def add(self, other: Score) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def read_labels(folder: Path) -> dict[Path, Labels]:
    """The labelled videos of a folder: those with an entry, and those that a SOURCES.md calls a single shot."""
    paths = {p.name: p for p in sorted(folder.rglob("*")) if p.suffix in (".mp4", ".webm", ".mkv", ".mov")}
    labels = {}
    index = folder / "labels" / "cuts.json"
    for name, entry in (json.loads(index.read_text()) if index.exists() else {}).items():
        labels[paths[name]] = _labels(entry)
    for path in sorted(folder.rglob("*.cuts.json")):
        entry = json.loads(path.read_text())
        labels[paths[entry["file"]]] = _labels(entry)
    sources = folder / "SOURCES.md"
    for line in sources.read_text().splitlines() if sources.exists() else ():
        single = re.match(r"\|([^|]+)\|.*\|single shot\|$", line)
        if single and Path(single[1]).name in paths:
            labels.setdefault(paths[Path(single[1]).name], Labels())
    return labels


def _labels(entry: dict) -> Labels:
    tolerance = int(entry.get("tolerance_frames", NEAR))
    fade = entry.get("kind") == "fade"
    ended = [f for f in entry.get("fades", ()) if f["in"] is not None]
    open_ended = [f for f in entry.get("fades", ()) if f["in"] is None]
    first = max(entry.get("first_fade_in", 0), entry.get("fade_in_until", 0))
    return Labels(
        [] if fade else list(entry["cuts"]),
        [(a, b) for a, b in entry.get("gradual", ())]
        + [(f["out"], f["in"]) for f in ended]
        + [(c - tolerance, c + tolerance) for c in (entry["cuts"] if fade else ())],
        [(f, f) for f in entry.get("ignore", ())]
        + [(f["out"] - 10, 1 << 40) for f in open_ended]
        + ([(0, first)] if first else []),
        NEAR if fade else tolerance,
    )


def judge(boundaries: Iterable[int], labels: Labels) -> Score:
    """Matches each label with the nearest boundary; boundaries in gradual or ignored intervals are not false."""
    left = list(boundaries)
    score = Score()
    for cut in labels.cuts:
        near = [f for f in left if abs(f - cut) <= labels.tolerance]
        if near:
            left.remove(min(near, key=lambda f: abs(f - cut)))
            score.hit += 1
        else:
            score.missed += 1
    for first, end in labels.gradual:
        inside = [f for f in left if first - NEAR <= f <= end + NEAR]
        score.gradual += 1
        score.gradual_found += bool(inside)
        left = [f for f in left if f not in inside]
    score.false = sum(not any(a <= f <= b for a, b in labels.ignored) for f in left)
    return score


def run(path: Path, names: tuple[str, ...]) -> tuple[dict[str, tuple[CutList, float]], int]:
    """The boundaries and processor seconds of each detector, and the number of frames."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        detectors: dict[str, ShotDetector] = {
            n: make_detector(Clips.model_validate({"detector": n, "mode": "exact"}), rate) for n in names
        }
        seconds = dict.fromkeys(names, 0.0)
        maker, index = None, -1
        for index, frame in enumerate(container.decode(stream)):
            maker = maker or PictureMaker(Display.of(frame, stream.sample_aspect_ratio))
            picture = maker(frame)
            if frame.pts is None or frame.time_base is None:
                raise ValueError(f"{path.name}: frame {index} has no presentation time")
            time_ms = round(frame.pts * frame.time_base * 1000)
            for name, detector in detectors.items():
                _ = picture.bgr if detector.needs == "bgr" else picture.tiny_rgb
                started = time.process_time()
                detector.push(index, time_ms, picture)
                seconds[name] += time.process_time() - started
    found = {}
    for name, detector in detectors.items():
        started = time.process_time()
        cuts = detector.finish()
        found[name] = (cuts, seconds[name] + time.process_time() - started)
    return found, index + 1


def boundaries_of_graph(path: Path, mode: str) -> list[int]:
    """Frames of the accepted boundaries that the decode pass stores for a video."""
    params = AnalysisParams(clips=Clips.model_validate({"mode": mode}))
    with tempfile.TemporaryFile() as spool:
        rows = analyse_video(path, params, VideoFacts("benchmark", path.stem), ["clips"], spool).rows["clips"]
    return [c["frame"] for c in rows[0].get("cut_list") or () if c["accepted"]]


def decode_seconds(paths: list[Path]) -> float:
    """Processor seconds of a plain single-threaded decode."""
    started = time.process_time()
    for path in paths:
        with av.open(path) as container:
            container.streams.video[0].thread_type = "NONE"
            for _ in container.decode(video=0):
                pass
    return time.process_time() - started


CODINGS: tuple[tuple[str, dict[str, str]], ...] = (
    ("libx264", {"crf": "20", "g": "250"}),
    ("libx264", {"crf": "28", "g": "48", "bf": "3"}),
    ("libx264", {"crf": "23", "g": "12", "bf": "0"}),
    ("libx264", {"crf": "23", "g": "300", "sc_threshold": "0", "bf": "7"}),
    ("libx265", {"crf": "26", "x265-params": "log-level=error"}),
    ("mpeg4", {"qscale": "4", "g": "100"}),
    ("libvpx-vp9", {"crf": "34", "b": "0", "deadline": "realtime", "cpu-used": "8"}),
)
"""Codec and options of joined episodes."""
RATES = (Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60))


def join(sources: list[Path], folder: Path, episodes: int, seed: int) -> None:
    """Episodes of spans of single shots, joined by cuts (6 in 10), dissolves and fades through black, and their labels."""
    rng = np.random.default_rng(seed)
    for episode in range(episodes):
        codec, options = CODINGS[episode % len(CODINGS)]
        rate = RATES[int(rng.integers(len(RATES)))]
        cuts: list[int] = []
        gradual: list[tuple[int, int]] = []
        frames: list[np.ndarray] = []
        for k in rng.choice(len(sources), int(rng.integers(5, 9)), replace=False):
            shot = _span(sources[int(k)], rng)
            kind = rng.random() if frames else 1.0
            length = min(int(rng.integers(6, 30)), len(shot) // 2, len(frames) // 2)
            if not frames:
                pass
            elif kind < 0.6 or length < 6:
                cuts.append(len(frames))
            elif kind < 0.8:
                start = len(frames) - length
                for n in range(length):
                    share = (n + 1) / (length + 1)
                    frames[start + n] = cv2.addWeighted(frames[start + n], 1 - share, shot[n], share, 0)
                gradual.append((start, start + length))
                shot = shot[length:]
            else:
                start = len(frames) - length
                for n in range(length):
                    frames[start + n] = cv2.convertScaleAbs(frames[start + n], alpha=1 - (n + 1) / (length + 1))
                black = [np.zeros_like(shot[0])] * int(rng.integers(6, 13))
                rising = [cv2.convertScaleAbs(f, alpha=(n + 1) / (length + 1)) for n, f in enumerate(shot[:length])]
                gradual.append((start, len(frames) + len(black) + length))
                frames += black
                shot = rising + shot[length:]
            frames += shot
        name = f"joined_{seed}_{episode:02d}.{'webm' if 'vp9' in codec else 'mp4'}"
        with av.open(folder / name, "w") as output:
            stream = output.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
            for image in frames:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            output.mux(stream.encode())
        (folder / f"{name}.cuts.json").write_text(json.dumps({"file": name, "cuts": cuts, "gradual": gradual}))


def _span(path: Path, rng: np.random.Generator) -> list[np.ndarray]:
    """15 to 90 consecutive frames of a video, 640x360 BGR."""
    with av.open(path) as container:
        every = [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]
    length = min(int(rng.integers(15, 91)), len(every))
    first = int(rng.integers(0, len(every) - length + 1))
    return [cv2.resize(f, (640, 360), interpolation=cv2.INTER_AREA) for f in every[first : first + length]]


def generate(folder: Path, episodes: int = 3) -> None:
    """Videos of textures that pan and grain, with hard cuts and dissolves, and their labels."""
    for episode in range(episodes):
        rng = np.random.default_rng(episode)
        frames: list[np.ndarray] = []
        cuts: list[int] = []
        gradual: list[tuple[int, int]] = []
        for shot in range(10):
            new = list(_shot(rng, int(rng.integers(30, 90))))
            if shot % 3 == 2:
                length = int(rng.integers(8, 24))
                start = len(frames) - length
                for k in range(length):
                    share = (k + 1) / (length + 1)
                    frames[start + k] = cv2.addWeighted(frames[start + k], 1 - share, new[k], share, 0)
                gradual.append((start, start + length))
                new = new[length:]
            elif frames:
                cuts.append(len(frames))
            frames += new
        name = f"generated_{episode}.mp4"
        with av.open(folder / name, "w") as output:
            stream = output.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
            for image in frames:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            output.mux(stream.encode())
        (folder / f"{name}.cuts.json").write_text(json.dumps({"file": name, "cuts": cuts, "gradual": gradual}))


def _shot(rng: np.random.Generator, length: int) -> Iterator[np.ndarray]:
    """A texture of coarse and fine blobs that moves steadily; uint8 (180, 320, 3)."""
    sizes = int(rng.integers(4, 12)), int(rng.integers(30, 80))
    blobs = (rng.integers(0, 256, (cells, 2 * cells, 3), np.uint8) for cells in sizes)
    coarse, fine = (cv2.resize(b, (720, 400), interpolation=cv2.INTER_CUBIC) for b in blobs)
    texture = cv2.addWeighted(coarse, 0.5, fine, 0.5, 0)
    dx, dy = rng.uniform(-2, 2), rng.uniform(-1, 1)
    for k in range(length):
        x, y = int(200 + dx * k), int(110 + dy * k)
        yield np.ascontiguousarray(texture[y : y + 180, x : x + 320])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument(
        "--episodes", type=int, default=0, help="look at so many episodes joined from the folder's shots"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the episodes")
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    args = parser.parse_args()
    names = tuple(args.detectors.split(","))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder
        if folder is None:
            folder = Path(scratch)
            generate(folder)
        elif args.episodes:
            labels = read_labels(folder)
            join(
                [p for p, t in labels.items() if not t.cuts and not t.gradual and not t.ignored],
                Path(scratch),
                args.episodes,
                args.seed,
            )
            folder = Path(scratch)
        measure(read_labels(folder), names)


def measure(labels: dict[Path, Labels], names: tuple[str, ...]) -> None:
    """Runs everything and prints the table."""
    if "cascade" in names or "transnetv2" in names:
        from curation_assets.decode.shots.transnet_whole import network

        network()
    rows = (*names, *GRAPH)
    totals = {name: Score() for name in rows}
    second_half = {name: Score() for name in rows}
    for path, truth in labels.items():
        found, frames = run(path, names)
        scores = {name: judge((c.frame for c in cuts.accepted), truth) for name, (cuts, _) in found.items()}
        for name, (cuts, seconds) in found.items():
            scores[name].frames, scores[name].seconds = frames, seconds
            scores[name].network_frames = cuts.stats.get("network_frames", 0.0)
        scores |= {row: judge(boundaries_of_graph(path, mode), truth) for row, mode in GRAPH.items()}
        for name, score in scores.items():
            totals[name].add(score)
            if hashlib.sha256(path.name.encode()).digest()[-1] % 2:
                second_half[name].add(score)
    decode = decode_seconds(list(labels))
    frames = max(1, totals[names[0]].frames)
    print(f"{len(labels)} videos, {frames} frames, plain decode {1000 * decode / frames:.2f} ms a frame")
    print(
        "| detector | F1 | false | missed | gradual | second half: F1, gradual | ms a frame | of a decode | seen by the network |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in rows:
        s, h = totals[name], second_half[name]
        cost = f"{1000 * s.seconds / frames:.3f} | {s.seconds / decode:.2f} | {s.network_frames / frames:.1%}"
        print(
            f"| {name} | {s.f1:.3f} | {s.false} | {s.missed} | {s.gradual_found} of {s.gradual} "
            f"| {h.f1:.3f}, {h.gradual_found} of {h.gradual} | {cost if name in names else ' | | '} |"
        )


if __name__ == "__main__":
    main()
