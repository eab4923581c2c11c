"""Exported clips as FFmpeg's releases read them: every picture at its time and for its duration, from 0 on."""

from __future__ import annotations

from typing import Any

import pytest

from curation_assets_tests.readers.clips import Expected, every_kind
from curation_assets_tests.readers.environments import read_in
from curation_assets_tests.readers.pyav import facts

KINDS = (
    "exact", "of one picture", "scaled", "other rate", "searched for faces", "copied", "track", "exact from mkv", "copied from mkv",
    "exact from ts", "copied from ts", "copied HEVC", "copied AV1", "variable",
)  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Expected]:
    made = every_kind(tmp_path_factory.mktemp("clips"))
    assert made.keys() == set(KINDS)
    return made


def check(expected: Expected, found: dict[str, Any], slack: float = 1e-4) -> None:
    """`slack`: seconds by which times may be rounded in the file."""
    assert found["start"] == 0
    shown = expected.shown
    assert [t for t, _ in found["packets"]] == pytest.approx([t for t, _ in shown], abs=slack)
    assert [d for _, d in found["packets"]] == pytest.approx([d for _, d in shown], abs=2 * slack)
    assert [t for t, _ in found["frames"]] == pytest.approx([t for t, _ in shown], abs=slack)
    if expected.numbers is not None:
        assert [n for _, n in found["frames"]] == expected.numbers
    assert found["stream_end"] == pytest.approx(float(expected.end), abs=2 * slack)
    assert found["rate"] == pytest.approx(len(shown) / float(expected.end), rel=2 * slack)
    assert ("sound" in found) == expected.sound
    if expected.sound:
        assert found["sound"][0] == pytest.approx(0, abs=0.025)
        assert found["sound"][1] == pytest.approx(float(expected.end), abs=0.03)


def slack_of(kind: str) -> float:
    """Copies keep the source's times, which Matroska rounds to milliseconds."""
    return 1.1e-3 if kind == "copied from mkv" else 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_clips_are_read_by_the_ffmpeg_of_today(clips: dict[str, Expected], kind: str) -> None:
    check(clips[kind], facts(str(clips[kind].path)), slack_of(kind))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_clips_are_read_by_ffmpeg_6(clips: dict[str, Expected]) -> None:
    found = read_in("ffmpeg6", "pyav", *(c.path for c in clips.values()))
    for kind, expected in clips.items():
        check(expected, found[str(expected.path)], slack_of(kind))
