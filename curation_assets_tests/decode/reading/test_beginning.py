"""Files whose clock begins below zero: every picture at its time, from the first on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.decode.test_as_players_show import analyse, cut, numbers
from curation_assets_tests.frame_numbers import number_in


def earlier(path: Path, target: Path, ms: int) -> Path:
    """`path` with all times moved back, below zero."""
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(path)) as source, av.open(str(target), "w", options=options) as output:
        stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
        shift = round(Fraction(ms, 1000) / source.streams.video[0].time_base)
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                output.mux(packet)
    return target


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"g": "20", "bf": "2"}),
        ("libx264", {"g": "20", "bf": "0"}),
        ("libx265", {"x265-params": "keyint=20:log-level=error"}),
        ("mpeg2video", {"g": "12", "bf": "2", "b": "3M"}),
        ("mpeg4", {"g": "20", "bf": "2", "b": "3M"}),
    ],
)
def test_matroska_that_begins_below_zero(codec: str, options: dict[str, str], tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", [80], codec=codec, **options)
    path = earlier(whole, tmp_path / "v.mkv", 1000)
    with av.open(str(path)) as media:
        first = next(media.demux(video=0))
        assert first.pts is None or first.pts < 0
    found, samples = analyse(path, "fixed", max_s=0.8)
    rows = sorted(found.rows["clips"], key=lambda r: r["start_ms"])
    assert [(r["start_ms"], r["end_ms"], r["start_frame"], r["end_frame"], r["frames_lost"]) for r in rows] == [
        (800 * n, 800 * n + 800, 20 * n, 20 * n + 20, 0) for n in range(4)
    ]
    assert samples
    assert all(number_in(image[..., 1]) == n for n, image in samples)
    spans = [(r["start_ms"], r["end_ms"], r["start_frame"], r["end_frame"]) for r in rows]
    for order in (spans, spans[::-1], [spans[0], spans[2]]):
        for (_, _, start, end), clip in zip(order, cut(path, order, tmp_path / "out"), strict=True):
            assert numbers(clip) == list(range(start, end))
    for (start_ms, _, start, end), clip in zip(
        spans, cut(path, [s[:2] for s in spans], tmp_path / "out", cut="copy"), strict=True
    ):
        if clip.error is None:
            shown = numbers(clip)
            assert shown == list(range(shown[0], shown[-1] + 1))
            assert clip.start_ms == 40 * shown[0]
            assert shown[0] <= start or start_ms < 1000, "packets before zero may have no times"
            assert shown[-1] < end


def test_h264_in_avi_begins_at_its_first_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", [60], g="20", bf="0")
    (row,) = analyse(path)[0].rows["clips"]
    assert (row["start_ms"], row["end_ms"], row["end_frame"]) == (0, 2400, 60)
    (copied,) = cut(path, [(800, 1600)], tmp_path / "out", cut="copy")
    assert (numbers(copied), copied.start_ms, copied.end_ms) == (list(range(20, 40)), 800, 1600)
