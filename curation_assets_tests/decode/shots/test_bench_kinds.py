"""Episodes of `benchmarks.truth`: their labels say where the pictures change, and a seed gives the same frames again.

What belongs here: that the bench's truth is true. What does not: what a detector finds in it.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.truth.episodes import Episode
from benchmarks.truth.shots import KINDS, Kind
from benchmarks.truth.single_shots import generated

WITHIN = (
    "club lights",
    "focus pulls",
    "hands before the lens",
    "fast tilts",
    "black frames within a shot",
    "plain ground that things cross",
)
"""What happens within shots and is no boundary."""
BETWEEN = ("floods of light between shots", "what passes hides the cut")
"""What hides a cut for a few frames."""


def _made(name: str, seed: int) -> Episode:
    kind: Kind = next(k for k in KINDS if k.name == name)
    return kind.make(generated(4, 7), np.random.default_rng(seed))


@pytest.mark.parametrize("name", [*WITHIN, *BETWEEN, "scrolled pages"])
def test_a_seed_gives_the_same_frames_again_and_another_one_others(name: str) -> None:
    one, again, other = _made(name, 1), _made(name, 1), _made(name, 2)
    assert one.labels == again.labels
    assert all(np.array_equal(a, b) for a, b in zip(one.frames, again.frames, strict=True))
    assert not (
        len(one.frames) == len(other.frames)
        and all(np.array_equal(a, b) for a, b in zip(one.frames, other.frames, strict=True))
    )


@pytest.mark.parametrize("name", WITHIN)
def test_what_happens_within_shots_adds_no_boundary_and_changes_pictures(name: str) -> None:
    shots = generated(4, 7)
    made = _made(name, 1)
    assert len(made.cuts) == len(shots) - 1
    assert not made.gradual
    assert all(f.shape == (144, 256, 3) and f.dtype == np.uint8 for f in made.frames)
    steps = np.array([np.abs(a.astype(int) - b).mean() for a, b in zip(made.frames, made.frames[1:], strict=False)])
    largest = np.delete(steps, [c - 1 for c in made.cuts]).max()
    quiet = np.median(steps)
    assert largest > 2 * quiet


@pytest.mark.parametrize("name", BETWEEN)
def test_what_hides_a_cut_is_told_as_the_frames_in_which_it_does(name: str) -> None:
    made = _made(name, 1)
    assert not made.cuts
    assert len(made.gradual) == 3
    for (first, end), (later, _) in zip(made.gradual, [*made.gradual[1:], (len(made.frames), 0)], strict=True):
        assert 0 < first < end <= later
        apart = np.abs(made.frames[first - 1].astype(int) - made.frames[end]).mean()
        within = np.abs(made.frames[end].astype(int) - made.frames[min(end + 2, later - 1)]).mean()
        assert apart > 3 * within
