"""Shot boundaries: episodes of many kinds with known transitions, looked at by the default detector and by its peers.

The folder has labelled videos as `benchmarks.shots` describes them; their single shots are cut out and joined anew. The labelled videos
themselves are the last kind. `adaptive` is PySceneDetect's AdaptiveDetector with its defaults, `transnetv2` that network over every frame.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.shots import Labels, Score, judge, read_labels, run
from benchmarks.truth import edits, lens, light, overlays, pages
from benchmarks.truth import episodes as ep
from benchmarks.truth.episodes import Episode, Rng
from benchmarks.truth.options import Options
from benchmarks.truth.rows import Row
from benchmarks.truth.single_shots import Shot, generated, half_of, labelled

SYSTEMS = ("cascade", "adaptive", "transnetv2")
Make = Callable[[list[Shot], Rng], Episode]


@dataclass(frozen=True)
class Kind:
    """A kind of footage.

    Attributes:
        name: in the table.
        make: an episode of shots, which are in random order.
        shots: so many are handed to it.
    """

    name: str
    make: Make
    shots: int = 24


def _joined(join: ep.Join, change: ep.Change | None = None, least: int = 20, most: int = 50) -> Make:
    def make(shots: list[Shot], rng: Rng) -> Episode:
        episode = ep.assemble(ep.spans(shots, least, most, rng), join, rng)
        return change(episode, rng) if change else episode

    return make


def _uncut(within: Callable[[list[ep.Image], Rng], list[ep.Image]], change: ep.Change | None = None) -> Make:
    """Shots of which each is changed within, joined by hard cuts."""

    def make(shots: list[Shot], rng: Rng) -> Episode:
        parts = [within(part, rng) for part in ep.spans(shots, 80, 110, rng)]
        episode = ep.assemble(parts, ep.cut, rng)
        return change(episode, rng) if change else episode

    return make


def _framed(share: float) -> Make:
    def make(shots: list[Shot], rng: Rng) -> Episode:
        return _joined(ep.cut, ep.framed(share, shots[-1].frames[0]))(shots[:-1], rng)

    return make


def _alternating(shots: list[Shot], rng: Rng) -> Episode:
    """Two takes shown in turn."""
    parts = []
    for a, b in zip(shots[::2], shots[1::2], strict=False):
        for k in range(3):
            parts += [list(s.frames[k * len(s.frames) // 3 : (k + 1) * len(s.frames) // 3]) for s in (a, b)]
    return ep.assemble(parts, ep.cut, rng)


def _fast(shots: list[Shot], rng: Rng) -> Episode:
    """Takes of 50 and 60 frames a second, and generated ones, since few are at hand."""
    quick = [s for s in shots if s.fps > 45] + generated(14, int(rng.integers(1 << 30)), 60.0)
    order = rng.permutation(len(quick))
    episode = ep.assemble(ep.spans([quick[k] for k in order], 40, 90, rng), ep.cut, rng)
    episode.fps = Fraction(60)
    return episode


KINDS = (
    Kind("plain cuts", _joined(ep.cut)),
    Kind("CRF 38", _joined(ep.cut, ep.coded(38))),
    Kind("grey", _joined(ep.cut, ep.grey)),
    Kind("shot and reverse shot", _alternating, 8),
    Kind("montage, shots of 4 to 10 frames", _joined(ep.cut, None, 4, 10)),
    Kind("luma x .2", _joined(ep.cut, ep.levels(0.2))),
    Kind("luma x .15", _joined(ep.cut, ep.levels(0.15))),
    Kind("luma x .08", _joined(ep.cut, ep.levels(0.08))),
    Kind("gamma 2.5", _joined(ep.cut, ep.gamma(2.5))),
    Kind("gamma .4", _joined(ep.cut, ep.gamma(0.4))),
    Kind("contrast x .3", _joined(ep.cut, ep.levels(0.3, 90))),
    Kind("haze", _joined(ep.cut, ep.levels(0.15, 170))),
    Kind("noise of 15 levels", _joined(ep.cut, ep.noise(15))),
    Kind("luma x .15, noise of 3 levels", _joined(ep.cut, ep.chained(ep.levels(0.15), ep.noise(3)))),
    Kind("upright between black bars", _joined(ep.cut, ep.barred(0.32, 1))),
    Kind("wide between black bars", _joined(ep.cut, ep.barred(1, 0.6))),
    Kind("bars that change", _joined(ep.cut, ep.changing_bars)),
    Kind("still frame around 60 %", _framed(0.6)),
    Kind("still frame around 40 %", _framed(0.4)),
    Kind("one white frame at the cut", _joined(ep.flashed(1))),
    Kind("two white frames at the cut", _joined(ep.flashed(2))),
    Kind("one mixed frame at the cut", _joined(ep.mixed)),
    Kind("24 to 30 by mixing", _joined(ep.cut, ep.resampled(1.25, Fraction(30), True))),
    Kind("mean of 3 frames", _joined(ep.cut, ep.averaged(3))),
    Kind("24 to 30 by repeating", _joined(ep.cut, ep.resampled(1.25, Fraction(30), False))),
    Kind("8 pictures a second in 32", _joined(ep.cut, ep.resampled(4, Fraction(32), False), 12, 20)),
    Kind("60 fps", _fast, 100),
    Kind("dissolves of 6 to 25 frames", _joined(ep.dissolve(6, 25), None, 35, 60), 19),
    Kind("dissolves of 40 frames", _joined(ep.dissolve(36, 44), None, 95, 105), 13),
    Kind("fades through black", _joined(ep.fade(), None, 40, 60), 13),
    Kind("fades through white", _joined(ep.fade(255), None, 40, 60), 13),
    Kind("wipes of 8 to 25 frames", _joined(ep.wipe(8, 25), None, 40, 60), 19),
    Kind("slides of 8 to 25 frames", _joined(ep.slide(8, 25), None, 40, 60), 19),
    Kind("jump cuts", ep.jumped, 24),
    Kind("flashes", _uncut(ep.flashes), 9),
    Kind("strobe", _uncut(ep.strobe), 9),
    Kind("whip pans", _uncut(ep.whip), 9),
    Kind("decoder smear", _uncut(ep.smear), 9),
    Kind("shaken camera", _uncut(ep.shaken), 9),
    Kind("captions that come and go", _uncut(overlays.captions), 9),
    Kind("bars that come and go within a shot", _uncut(overlays.bars), 9),
    Kind("one black frame at the cut", _joined(edits.darkened(1))),
    Kind("three black frames at the cut", _joined(edits.darkened(3))),
    Kind("a frozen picture before the cut", _joined(edits.held)),
    Kind("combed fields", _joined(ep.cut, edits.combed)),
    Kind("24 to 30 by fields", _joined(ep.cut, edits.pulled_down)),
    Kind("drawings on twos and threes", _joined(ep.cut, edits.drawn)),
    Kind("flickering film", _joined(ep.cut, light.flickering)),
    Kind("CRF 45", _joined(ep.cut, ep.coded(45))),
    Kind("whipped transitions", _joined(edits.whipped, None, 40, 60), 19),
    Kind("zoomed transitions", _joined(edits.zoomed, None, 40, 60), 19),
    Kind("lightning", _uncut(light.lightning), 9),
    Kind("leaks of light", _uncut(light.leaks), 9),
    Kind("exposure that adapts", _uncut(light.exposure), 9),
    Kind("crash zooms", _uncut(edits.crash_zooms), 9),
    Kind("inset pictures that come and go", _uncut(edits.insets), 9),
    Kind("time that runs faster and slower", _uncut(edits.ramped), 9),
    Kind("club lights", _uncut(light.club_lights), 9),
    Kind("focus pulls", _uncut(lens.focus_pulls), 9),
    Kind("hands before the lens", _uncut(lens.hands), 9),
    Kind("fast tilts", _uncut(lens.tilts), 9),
    Kind("floods of light between shots", _joined(light.flooded, None, 40, 60), 19),
    Kind("scrolled pages", pages.scrolled, 9),
    Kind("black frames within a shot", _uncut(lens.blinks), 9),
    Kind("what passes hides the cut", _joined(lens.covered, None, 40, 60), 19),
    Kind("plain ground that things cross", _uncut(lens.watched), 9),
)


def measure(options: Options) -> Iterator[Row]:
    """The rows of this area."""
    for half in options.halves:
        yield from (row for row in _composed(options, half))
    if options.folder is not None:
        for half in options.halves:
            videos = {p: t for p, t in read_labels(options.folder).items() if half_of(p.name) == half}
            if options.kinds in "labelled videos":
                yield _row("labelled videos", half, videos)


def episodes(options: Options, half: str) -> Iterator[tuple[Kind, Episode]]:
    """One episode for each kind, of the shots of a half."""
    if options.folder is None:
        material = generated(12 if options.small else 60, 2 * options.seed + (half == "second"))
    else:
        material = labelled(options.folder, half)
    for number, kind in enumerate(KINDS):
        if options.kinds in kind.name:
            rng = np.random.default_rng([options.seed, number, half == "second"])
            count = min(kind.shots, len(material), 6 if options.small else 1000)
            yield kind, kind.make([material[k] for k in rng.permutation(len(material))[:count]], rng)


def _composed(options: Options, half: str) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "episode.mp4"
        for kind, episode in episodes(options, half):
            episode.write(path)
            yield _row(kind.name, half, {path: episode.labels})


def _row(kind: str, half: str, videos: dict[Path, Labels]) -> Row:
    totals = {name: Score() for name in SYSTEMS}
    for path, truth in videos.items():
        found, frames = run(path, SYSTEMS)
        for name, (cuts, seconds) in found.items():
            score = judge((c.frame for c in cuts.accepted), truth)
            score.frames, score.seconds = frames, seconds
            score.network_frames = cuts.stats.get("network_frames", 0.0)
            totals[name].add(score)
    cuts, gradual = (
        sum(len(part) for part in parts) for parts in zip(*((t.cuts, t.gradual) for t in videos.values()), strict=True)
    )
    truth = " and ".join(f"{n} {what}" for n, what in ((cuts, "cuts"), (gradual, "gradual")) if n) or "none"
    found = {name: f"{s.hit + s.gradual_found} ({s.false})" for name, s in totals.items()}
    figures = {
        name: {
            "cuts": s.hit,
            "gradual": s.gradual_found,
            "false": s.false,
            "of cuts": cuts,
            "of gradual": gradual,
            "frames": s.frames,
            "seconds": s.seconds,
            "network_frames": s.network_frames,
        }
        for name, s in totals.items()
    }
    return Row("shots", kind, half, truth, found, figures)
