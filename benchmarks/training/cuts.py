"""Makes the trees of the cascade: `python -m benchmarks.training.cuts [--episodes N] [--output FILE]`.

What they learn from is generated (`cut_material`): photographs and textures under a moving camera, joined and changed at random, once as they
are and once with things that pass near the camera. `--single` adds footage of one shot in which much happens; what the package ships was made
with 400 episodes and `car-detection.mp4` of intel-iot-devkit/sample-videos (CC BY 4.0). No other footage went into it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.shots import Labels
from benchmarks.training.cut_material import episode, with_passers
from curation_assets.decode.reading.media import Display
from curation_assets.decode.reading.picture import PictureMaker
from curation_assets.decode.shots.history import Tiny, distance
from curation_assets.decode.shots.proposals import Proposals
from curation_assets.decode.shots.thinning import Thinned
from curation_assets.decode.shots.trees import FILE

NEAR = 3
"""Pictures on either side of a cut that count neither for nor against one."""
CUT_WEIGHT = 3.0
"""A cut is one picture, a dissolve many."""


class Recorded(Proposals):
    """Keeps the evidence instead of judging it."""

    def __init__(self, thinned: Thinned) -> None:
        super().__init__(thinned)
        self.rows: list[NDArray[np.float32]] = []

    def chances(self, evidence: NDArray[np.float32]) -> NDArray[np.float64]:
        self.rows.append(evidence)
        return np.zeros(len(evidence))


def read(path: Path) -> tuple[list[Tiny], list[int]]:
    """The tiny pictures of a video and their times, milliseconds."""
    frames, times, maker = [], [], None
    with av.open(path) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            maker = maker or PictureMaker(Display.of(frame, stream.sample_aspect_ratio))
            frames.append(maker(frame).tiny_rgb.copy())
            times.append(round(frame.pts * frame.time_base * 1000))
    return frames, times


def examples(frames: list[Tiny], times: list[int], fps: float, labels: Labels) -> tuple[NDArray, NDArray]:
    """Evidence (n, features) and 1 for a cut, 2 amid a gradual transition, 0 for neither, -1 for what is near one: (n,)."""
    thinned = Thinned(fps)
    recorded = Recorded(thinned)
    places, shown = [], []

    def advance(last: bool) -> None:
        for first, chances in recorded.measure(last):
            places.extend(thinned.cut(first + k)[0] for k in range(len(chances)))
            shown.extend(thinned.shown(first + k)[0] for k in range(len(chances)))

    for index, (frame, time_ms) in enumerate(zip(frames, times, strict=True)):
        thinned.push(index, time_ms, frame, distance(frames[index - 1], frame) if index else 0.0)
        advance(False)
    thinned.finish()
    advance(True)
    return np.concatenate(recorded.rows), targets(np.array(places), np.array(shown), labels)


def targets(places: NDArray, shown: NDArray, labels: Labels) -> NDArray:
    """What is wanted of each picture, from the frame of a cut before it and the frame in which it is shown."""
    wanted = np.zeros(len(shown), int)
    for first, end in labels.gradual:
        length = end - first
        wanted[(shown >= first - 4) & (shown <= end + 4)] = -1
        wanted[(shown >= first + length / 4) & (shown <= end - length / 4)] = 2
    for cut in labels.cuts:
        away = np.abs(places - cut)
        wanted[(away <= NEAR) & (wanted != 1)] = -1
        if away.min() <= labels.tolerance:
            wanted[np.argmin(away)] = 1
    return wanted


def learn(evidence: NDArray, wanted: NDArray) -> HistGradientBoostingClassifier:
    """Boosted trees for either kind of boundary."""
    known = wanted >= 0
    model = HistGradientBoostingClassifier(
        max_iter=300,
        max_leaf_nodes=16,
        max_depth=7,
        learning_rate=0.12,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    return model.fit(evidence[known], wanted[known] > 0, sample_weight=np.where(wanted[known] == 1, CUT_WEIGHT, 1.0))


def arrays(model: HistGradientBoostingClassifier) -> dict[str, NDArray]:
    """The trees as `decode.shots.trees.Trees` reads them: children side by side, leaves that lead to themselves."""
    parts: dict[str, list[NDArray]] = {name: [] for name in ("feature", "threshold", "child", "value")}
    roots, total, deepest = [], 0, 0
    for (predictor,) in model._predictors:
        nodes = predictor.nodes
        order, place = [0], {0: 0}
        for old in order:
            if not nodes[old]["is_leaf"]:
                for child in (int(nodes[old]["left"]), int(nodes[old]["right"])):
                    place[child] = len(order)
                    order.append(child)
        leaf = np.array([bool(nodes[k]["is_leaf"]) for k in order])
        child = [total + (k if leaf[k] else place[int(nodes[old]["left"])]) for k, old in enumerate(order)]
        parts["feature"].append(np.where(leaf, 0, nodes["feature_idx"][order]).astype(np.uint8))
        parts["threshold"].append(np.where(leaf, np.inf, nodes["num_threshold"][order]).astype(np.float32))
        parts["child"].append(np.array(child, np.uint16))
        parts["value"].append(np.where(leaf, nodes["value"][order], 0).astype(np.float32))
        roots.append(total)
        total += len(order)
        deepest = max(deepest, int(nodes["depth"].max()))
    joined = {name: np.concatenate(part) for name, part in parts.items()}
    start = np.float64(np.ravel(model._baseline_prediction)[0])
    return {**joined, "root": np.array(roots, np.uint16), "start": start, "depth": np.int64(deepest)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--single", type=Path, nargs="*", default=[], help="videos of one shot each, licensed for this")
    parser.add_argument("--output", type=Path, help=f"default: none; the package's own is {FILE.name}")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows, wanted = [], []

    def take(frames: list[Tiny], times: list[int], fps: float, labels: Labels) -> None:
        evidence, targets_of = examples(frames, times, fps, labels)
        rows.append(evidence)
        wanted.append(targets_of)

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "episode.mp4"
        for seed in range(args.episodes):
            made = episode(seed)
            made.write(path)
            frames, times = read(path)
            take(frames, times, float(made.fps), made.labels)
            take(with_passers(frames, seed), times, float(made.fps), made.labels)
    for path in args.single:
        take(*read(path), 25.0, Labels())
    model = learn(np.concatenate(rows), np.concatenate(wanted))
    right = model.score(np.concatenate(rows), np.concatenate(wanted) > 0)
    print(f"{sum(map(len, rows))} pictures, {right:.4f} right among those seen")
    if args.output is not None:
        np.savez_compressed(args.output, **arrays(model))


if __name__ == "__main__":
    main()
