"""Frames of several clips, videos and shards in batches through one detector: whose detections are whose, and what becomes of faults."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation_assets.tracks.detection_line import PATIENCE, DetectionLine
from curation_assets.tracks.following import TrackInputs, track_shard
from curation_assets.tracks.shard_search import TrackingLine
from curation_assets.tracks.tracks import Tracks
from curation_assets_tests.moving_objects import CROSSING, HEIGHT, WIDTH, ColourDetector, encode, picture
from curation_assets_tests.resources.detectors.tiny_models import save_owlv2, save_random_yolo
from curation_assets_tests.shared_data import shared
from curation_assets_tests.tracks.test_following import AFTER_CUT, PARAMS, clip_row, raw_row, tables
from curation_resources.detectors.base import Detections, Image
from curation_resources.detectors.faces import CenterFaceDetector
from curation_resources.detectors.onnx import OnnxDetector, OnnxForm
from curation_resources.detectors.text_prompted import Owlv2Detector
from curation_resources.journal import Journal
from curation_resources.storage import Storage

GATE_S = 120
"""How long a thread waits for the others of its test before that fails."""


class AheadColours(ColourDetector):
    """The detector of colours as one that has a device of its own: results come two batches later."""

    asynchronous = True
    device = "cpu"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.batches: list[tuple[int, ...]] = []

    def detect_ahead(self, batches: Iterable[np.ndarray]) -> Iterator[list[Detections]]:
        flying: list[list[Detections]] = []
        for batch in batches:
            self.batches.append(batch.shape)
            flying.append(self.detect(list(batch)))
            if len(flying) > 2:
                yield flying.pop(0)
        yield from flying


def frames_of(thing: int, count: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> list[tuple[int, Image]]:
    return [
        (40 * k, np.ascontiguousarray(picture(CROSSING, thing + k / 25)[: size[0], : size[1]])) for k in range(count)
    ]


def same(a: Detections, b: Detections) -> None:
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.class_scores, b.class_scores)


def finished() -> None:
    """Waits until no line has a thread any more."""
    for thread in threading.enumerate():
        if thread.name == "detections":
            thread.join()


def test_frames_of_all_who_bring_some_go_together_and_each_gets_its_own() -> None:
    clips = [frames_of(n, 5 + 3 * n, (HEIGHT, WIDTH - 20 * (n % 2))) for n in range(6)]
    alone = ColourDetector(CROSSING)
    detector = AheadColours(CROSSING)
    line = DetectionLine(detector, 4, 3)
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda clip: list(line.searched(iter(clip))), clips))
    for clip, own in zip(clips, found, strict=True):
        assert [t for t, _ in own] == [t for t, _ in clip]
        for (_, image), (_, detections) in zip(clip, own, strict=True):
            same(detections, alone.detect([image])[0])
    assert sum(shape[0] for shape in detector.batches) == sum(map(len, clips)) == detector.looked
    finished()


def test_batches_run_over_the_borders_of_clips() -> None:
    """Of twenty clips of three frames that all bring theirs at once every batch is full."""
    clips = [frames_of(n, 3) for n in range(20)]
    detector = AheadColours(CROSSING)
    line = DetectionLine(detector, 4, len(clips))
    all_are_there = threading.Barrier(len(clips), timeout=GATE_S)

    def frames(clip: list[tuple[int, Image]]) -> Iterator[tuple[int, Image]]:
        all_are_there.wait()  # asked for the first frame: the line knows of this clip
        yield from clip

    with ThreadPoolExecutor(len(clips)) as threads:
        list(threads.map(lambda clip: list(line.searched(frames(clip))), clips))
    assert [shape[0] for shape in detector.batches] == [4] * 15
    finished()


def test_a_network_finds_in_any_company_what_it_finds_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Owlv2Detector, "asynchronous", True)
    detector = Owlv2Detector(str(save_owlv2(tmp_path)), ["dog", "red car"], confidence=0.0, device="cpu", batch=4)
    clips = [frames_of(0, 3), frames_of(2, 6), frames_of(1, 2, (HEIGHT, HEIGHT))]
    line = DetectionLine(detector, 4, 3)
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda clip: list(line.searched(iter(clip))), clips))
    for clip, own in zip(clips, found, strict=True):
        for (_, image), (_, detections) in zip(clip, own, strict=True):
            (expected,) = detector.detect([image])
            np.testing.assert_allclose(detections.scores, expected.scores, atol=1e-5)
            np.testing.assert_allclose(np.sort(detections.boxes, 0), np.sort(expected.boxes, 0), atol=0.05)
    finished()


def test_a_frame_of_a_rare_size_does_not_wait_for_ever() -> None:
    detector = AheadColours(CROSSING)
    line = DetectionLine(detector, 2, 2)
    common = 4 * PATIENCE * 2
    both, waits, seen = threading.Barrier(2, timeout=GATE_S), threading.Event(), threading.Event()

    def usual() -> Iterator[tuple[int, Image]]:
        ((_, image),) = frames_of(0, 1)
        both.wait()
        assert waits.wait(GATE_S)
        for number in range(common):
            yield number, image
        assert seen.wait(GATE_S), "whoever brings more of the usual size would have to end first"

    def rare() -> Iterator[tuple[int, Image]]:
        both.wait()
        yield from frames_of(0, 1, (HEIGHT, 100))
        waits.set()

    with ThreadPoolExecutor(2) as threads:
        going = threads.submit(lambda: sum(1 for _ in line.searched(usual())))
        ((_, found),) = line.searched(rare())
        seen.set()
        assert going.result() == common
    assert found is not None
    finished()


def test_what_the_detector_raises_is_raised_to_all_and_the_next_are_served() -> None:
    class Breaks(AheadColours):
        broken = True

        def detect(self, frames: Sequence[Image]) -> list[Detections]:
            if self.broken and self.looked >= 8:
                raise RuntimeError("the device is gone")
            return super().detect(frames)

    detector = Breaks(CROSSING)
    line = DetectionLine(detector, 4, 2)

    def tried(clip: list[tuple[int, Image]]) -> str:
        try:
            return str(len(list(line.searched(iter(clip)))))
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(tried, [frames_of(0, 20), frames_of(1, 20)])) == ["the device is gone"] * 2
    detector.broken = False
    assert tried(frames_of(0, 9)) == "9"
    finished()


@pytest.mark.timeout(60)
def test_a_detector_that_answers_for_too_few_frames_is_said_to_all_who_wait() -> None:
    class Forgets(AheadColours):
        def detect(self, frames: Sequence[Image]) -> list[Detections]:
            return super().detect(frames)[1:]

    line = DetectionLine(Forgets(CROSSING), 4, 1)
    with pytest.raises(ValueError, match="zip"):
        list(line.searched(iter(frames_of(0, 9))))
    finished()


@pytest.mark.timeout(60)
def test_memory_that_cannot_be_had_is_said_to_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    line = DetectionLine(AheadColours(CROSSING), 4, 2)
    take, taken = line._memory.take, 0

    def short(size: int) -> np.ndarray:
        nonlocal taken
        taken += 1
        if taken == 3:
            raise MemoryError("no more pages can be pinned")
        return take(size)

    monkeypatch.setattr(line._memory, "take", short)

    def tried(clip: list[tuple[int, Image]]) -> str:
        try:
            return str(len(list(line.searched(iter(clip)))))
        except MemoryError as error:
            return str(error)

    with ThreadPoolExecutor(2) as threads:
        said = list(threads.map(tried, [frames_of(0, 20), frames_of(1, 20)]))
    assert "no more pages can be pinned" in said
    assert tried(frames_of(0, 9)) == "9"
    finished()


def test_who_goes_away_takes_its_frames_along() -> None:
    line = DetectionLine(AheadColours(CROSSING), 4, 1)
    searching = line.searched(iter(frames_of(0, 30)))
    next(searching)
    searching.close()
    assert len(list(line.searched(iter(frames_of(1, 5))))) == 5
    finished()


def test_who_must_know_one_frame_to_ask_for_the_next_goes_with_the_others() -> None:
    """As a search for faces does: where it looks next hangs on what it found."""
    detector = AheadColours(CROSSING)
    line = DetectionLine(detector, 4, 4)
    clips = [frames_of(n, 12) for n in range(4)]
    alone = ColourDetector(CROSSING)
    all_are_there = threading.Barrier(len(clips), timeout=GATE_S)

    def searched(clip: list[tuple[int, Image]]) -> list[Detections]:
        found: list[Detections] = []
        with line.joined() as joined:
            assert joined.names == detector.names
            all_are_there.wait()
            for _, image in clip:
                found += joined.detect([image] * (1 + len(found) % 2))[:1]
        return found

    with ThreadPoolExecutor(4) as threads:
        for clip, own in zip(clips, threads.map(searched, clips), strict=True):
            for (_, image), detections in zip(clip, own, strict=True):
                same(detections, alone.detect([image])[0])
    assert [shape[0] for shape in detector.batches] == [4] * 18, "one look at each clip, or two at two of them"
    finished()


@pytest.fixture
def shards(tmp_path: Path) -> tuple[list[tuple[pa.Table, pa.Table]], Storage]:
    """Two shards of two videos of two clips, of which the last is of another size."""
    storage = Storage(str(tmp_path))
    data = encode((k / 25, picture(CROSSING if k < 25 else AFTER_CUT, k / 25)) for k in range(50))
    storage.write("v.mp4", data)
    found = []
    for n in range(2):
        videos = [f"{n}{v}" for v in "ab"]
        clips = [clip_row(v, s, s + 1000, width=WIDTH - 40 * n * (s > 0)) for v in videos for s in (0, 1000)]
        found.append(tables(clips, [raw_row(v, data, "v.mp4") for v in videos]))
    return found, storage


def test_shards_that_were_begun_ahead_are_those_that_are_made_alone(
    shards: tuple[list[tuple[pa.Table, pa.Table]], Storage],
) -> None:
    (first, second), storage = shards
    expected = [track_shard(TrackInputs(*s), PARAMS, storage, ColourDetector(CROSSING))[0] for s in (first, second)]
    detector = AheadColours(CROSSING)
    line = TrackingLine(PARAMS, storage, detector, 2)
    for key, shard in (("0", first), ("1", second)):
        inputs = TrackInputs(*shard)
        line.ahead(key, inputs.wanted(), inputs.videos())
    made = []
    for key, shard in (("0", first), ("1", second)):
        with Journal(storage, f"tracks/d-{key}", "f") as journal:
            table, stats = track_shard(
                TrackInputs(*shard, key=key), PARAMS, storage, detector, journal=journal, line=line
            )
            kept = Journal(storage, f"tracks/d-{key}", "f").items
            assert set(kept) == set(shard[0]["clip_id"].to_pylist()), "what was finished ahead is kept too"
        made.append(table)
        assert (stats.looked_at, stats.frames, stats.failed) == (4, 4 * 8, {})
    assert made == expected
    assert detector.looked == 8 * 8, "no frame is looked at twice"
    line.close()
    finished()


@pytest.mark.parametrize("kind", ["any number at a time", "one at a time", "several in name only"])
def test_an_onnx_network_gives_the_same_rows_in_any_company(
    shards: tuple[list[tuple[pa.Table, pa.Table]], Storage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """The real library through the line that a GPU has: batches over clips, videos and shards, threads that run ahead."""
    (first, second), storage = shards
    path = save_random_yolo(
        tmp_path / "yolo.onnx", "one" if kind == "one at a time" else "n", kind != "several in name only"
    )
    detector = OnnxDetector(path, ("a", "b"), OnnxForm(size=64), confidence=0.3)
    params = Tracks(detector="onnx", model=path, vocabulary="coco", fps=8, batch=4, high=0.4, begin=0.4)
    expected = [track_shard(TrackInputs(*s), params, storage, detector)[0] for s in (first, second)]
    assert all(table.num_rows for table in expected)
    ran: list[int] = []
    run = detector._detect_some

    def noted(frames: Sequence[Image]) -> list[Detections]:
        ran.append(len(frames))
        return run(frames)

    monkeypatch.setattr(OnnxDetector, "asynchronous", True)
    monkeypatch.setattr(detector, "_detect_some", noted)
    line = TrackingLine(params, storage, detector, 2)
    for key, shard in (("0", first), ("1", second)):
        line.ahead(key, TrackInputs(*shard).wanted(), TrackInputs(*shard).videos())
    made = [
        track_shard(TrackInputs(*s, key=k), params, storage, detector, line=line)[0]
        for k, s in (("0", first), ("1", second))
    ]
    assert made == expected
    assert sum(ran) == 8 * 8
    assert max(ran) == (4 if kind == "any number at a time" else 1)
    line.close()
    finished()


def test_faces_are_those_of_a_search_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole looks and squares of several clips through one CenterFace, bit for bit."""
    storage, videos = Storage(str(tmp_path)), "abc"
    for number, video in enumerate(videos):
        storage.write(f"{video}.mp4", panned(number))
    clips = [clip_row(v, s, s + 1000, width=400, height=300) for v in videos for s in (0, 1000)]
    raw = [raw_row(v, storage.read(f"{v}.mp4"), f"{v}.mp4") for v in videos]
    shard = TrackInputs(*tables(clips, raw), key="0")
    params = Tracks(fps=12, confidence=0.3)
    detector = CenterFaceDetector(confidence=params.confidence)
    expected, _ = track_shard(shard, params, storage, detector)
    assert expected.num_rows
    sizes: list[tuple[int, ...]] = []
    together = detector._detect_batch

    def noted(frames: list[Image]) -> list[Detections]:
        sizes.append((len(frames), *frames[0].shape[:2]))
        return together(frames)

    monkeypatch.setattr(CenterFaceDetector, "asynchronous", True)
    monkeypatch.setattr(detector, "_detect_batch", noted)
    line = TrackingLine(params, storage, detector, 3)
    made, stats = track_shard(shard, params, storage, detector, line=line)
    assert made == expected
    assert (stats.looked_at, stats.detect_s) == (6, 0.0)
    assert max(n for n, *_ in sizes) > 1
    assert {tuple(size) for _, *size in sizes} - {(300, 400)}, "places in pictures too"
    line.close()
    finished()


def panned(number: int) -> bytes:
    """Two seconds of a photograph with small faces that moves over grey."""
    photo = cv2.cvtColor(cv2.imread(str(shared("faces/2008_001322.jpg"))), cv2.COLOR_BGR2RGB)
    wide = np.full((390, 520, 3), 128, np.uint8)
    wide[100:280, 160:400] = cv2.resize(photo, (240, 180), interpolation=cv2.INTER_AREA)
    return encode((k / 25, np.ascontiguousarray(wide[20 * number :, k:][:300, :400])) for k in range(50))


def test_a_shard_that_turns_out_to_be_another_is_looked_at_anew(
    shards: tuple[list[tuple[pa.Table, pa.Table]], Storage],
) -> None:
    (first, second), storage = shards
    expected = track_shard(TrackInputs(*second), PARAMS, storage, ColourDetector(CROSSING))[0]
    line = TrackingLine(PARAMS, storage, AheadColours(CROSSING), 2)
    guessed = TrackInputs(*first)
    line.ahead("1", guessed.wanted(), guessed.videos())
    table, _ = track_shard(TrackInputs(*second, key="1"), PARAMS, storage, AheadColours(CROSSING), line=line)
    assert table == expected
    line.close()
    finished()


def test_a_run_that_is_stopped_leaves_no_thread_at_work(
    shards: tuple[list[tuple[pa.Table, pa.Table]], Storage],
) -> None:
    class Stops(AheadColours):
        def detect(self, frames: Sequence[Image]) -> list[Detections]:
            if self.looked > 20:
                raise KeyboardInterrupt
            return super().detect(frames)

    (first, second), storage = shards
    detector = Stops(CROSSING)
    line = TrackingLine(PARAMS, storage, detector, 2)
    later = TrackInputs(*second)
    line.ahead("1", later.wanted(), later.videos())
    with pytest.raises(KeyboardInterrupt):
        track_shard(TrackInputs(*first, key="0"), PARAMS, storage, detector, line=line)
    line.close()
    finished()
    assert not line.begun("1")
