"""Episodes for training: generated shots, joined and changed in ways drawn anew for each, with what is mistaken for a transition."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from benchmarks.truth import edits, light
from benchmarks.truth import episodes as ep
from benchmarks.truth.episodes import Change, Episode, Join, Rng
from benchmarks.truth.single_shots import generated
from curation_assets.decode.shots.history import Tiny

SHOTS = 14
"""In an episode."""
HARDER = 160
"""From this seed on there is more of what was mistaken at first: whip pans, short shots and gradual transitions."""
NEWER = 260
"""From this seed on light and lenses do more within a shot, footage is aged, drawn or woven of fields, and a thrown camera joins shots."""


def episode(seed: int) -> Episode:
    """One episode, different for each seed."""
    rng = np.random.default_rng([15, seed])
    fast = seed % 12 == 11
    shots = generated(SHOTS, 10_000 + seed, 60.0 if fast else 25.0)
    harder, newer = seed >= HARDER, seed >= NEWER
    shares = [0.45, 0.35, 0.2] if harder else [0.6, 0.3, 0.1]
    least, most = [(20, 60), (40, 100), (4, 14)][int(rng.choice(3, p=shares))]
    parts = ep.spans(shots, least, most, rng)
    parts = [_lit(part, rng) if newer else _disturbed(part, harder, rng) for part in parts]
    made = ep.assemble(parts, _any_join(newer, rng), rng) if rng.random() < 0.9 else ep.jumped(shots, rng)
    if newer and rng.random() < 0.4:
        kinds = [light.flickering, light.flickering, edits.drawn, edits.combed, edits.pulled_down]
        made = kinds[int(rng.integers(len(kinds)))](made, rng)
    made = _any_change(shots[0].frames[0], rng)(made, rng)
    made.crf = int(rng.integers(18, 36))
    if fast:
        made.fps = Fraction(60)
    return made


def _disturbed(frames: list[ep.Image], harder: bool, rng: Rng) -> list[ep.Image]:
    kinds = [ep.flashes, ep.strobe, ep.whip, ep.smear, ep.shaken] + [ep.whip] * harder
    share = 0.5 if harder else 0.35
    return kinds[int(rng.integers(len(kinds)))](frames, rng) if rng.random() < share else frames


def _lit(frames: list[ep.Image], rng: Rng) -> list[ep.Image]:
    """Changed within by light or lenses three times in four, so that what comes between two cuts is none."""
    kinds = [light.lightning, light.leaks, light.leaks, light.exposure, edits.crash_zooms, edits.crash_zooms]
    kinds += [edits.insets, edits.ramped, ep.whip, ep.flashes, ep.strobe]
    return kinds[int(rng.integers(len(kinds)))](frames, rng) if rng.random() < 0.75 else frames


def with_passers(frames: list[Tiny], seed: int) -> list[Tiny]:
    """Tiny pictures of an episode before which things pass near the camera, as wide as the picture at times: what looks most like a wipe."""
    rng = np.random.default_rng([16, seed])
    frames = [f.copy() for f in frames]
    rows, columns = np.mgrid[0:27, 0:48]
    for start in ep.places(len(frames), 45, rng):
        length = int(rng.integers(3, 30))
        look = frames[int(rng.integers(len(frames)))].astype(np.float32)
        if rng.random() < 0.4:
            look = np.broadcast_to(look.mean(axis=(0, 1)), look.shape)
        look = np.clip(look * rng.uniform(0.3, 1.2), 0, 255)
        size, angle = rng.uniform(0.2, 1.2), rng.uniform(0, 2 * np.pi)
        half_w, half_h = 24 * size, 27 * size * rng.uniform(0.4, 1.5)
        reach = 24 + half_w
        returns = rng.random() < 0.3
        for k in range(min(length, len(frames) - start)):
            along = 2 * k / max(1, length - 1) - 1
            place = reach * (np.abs(along) if returns else along)
            x, y = 24 + place * np.cos(angle), 13 + place * np.sin(angle) * 0.6
            away = ((columns - x) / half_w) ** 2 + ((rows - y) / half_h) ** 2
            mask = np.clip((1.1 - away) * 5, 0, 1)[..., None]
            moved = np.roll(look, (round(y) - 13, round(x) - 24), (0, 1))
            frames[start + k] = (frames[start + k] * (1 - mask) + moved * mask).astype(np.uint8)
    return frames


def _any_join(newer: bool, rng: Rng) -> Join:
    gradual: list[Join] = [
        ep.dissolve(5, 25),
        ep.dissolve(20, 46),
        ep.wipe(6, 30),
        ep.wipe(6, 30),
        ep.slide(6, 30),
        ep.slide(6, 30),
    ]
    gradual += [ep.fade(0), ep.fade(255)]
    hard: list[Join] = [ep.cut, ep.cut, ep.cut, ep.flashed(1), ep.flashed(2), ep.mixed, ep.mixed]
    if newer:
        gradual += [edits.whipped, edits.zoomed]
        hard += [edits.darkened(1), edits.darkened(3), edits.held]
    share = rng.choice([0.0, 0.35, 0.8])

    def join(made: Episode, shot: list[ep.Image], rng: Rng) -> None:
        soft = rng.random() < share and min(len(shot), len(made.frames)) > 12
        kinds = gradual if soft else hard
        tolerance = made.tolerance
        kinds[int(rng.integers(len(kinds)))](made, shot, rng)
        made.tolerance = tolerance

    return join


def _any_change(ground: ep.Image, rng: Rng) -> Change:
    def dim(made: Episode, rng: Rng) -> Episode:
        scale = float(np.exp(rng.uniform(np.log(0.06), 0)))
        return ep.levels(scale, float(rng.uniform(0, 235 * (1 - scale))) * float(rng.random() < 0.5))(made, rng)

    light: list[Change] = [
        dim,
        dim,
        dim,
        ep.gamma(float(np.exp(rng.uniform(-1, 1)))),
        ep.noise(float(rng.uniform(2, 16))),
        ep.grey,
    ]
    shape: list[Change] = [
        ep.barred(float(rng.uniform(0.3, 0.8)), 1),
        ep.barred(1, float(rng.uniform(0.5, 0.8))),
        ep.framed(float(rng.uniform(0.35, 0.8)), ground),
        ep.changing_bars,
    ]
    order: list[Change] = [
        ep.resampled(1.25, Fraction(30), True),
        ep.resampled(25 / 24, Fraction(25), True),
        ep.averaged(2),
        ep.averaged(3),
        ep.resampled(1.25, Fraction(30), False),
        ep.resampled(float(rng.integers(2, 5)), Fraction(30), False),
    ]
    chosen = [
        kinds[int(rng.integers(len(kinds)))]
        for kinds, p in ((order, 0.3), (light, 0.5), (shape, 0.3))
        if rng.random() < p
    ]
    return ep.chained(*chosen)
