"""Numbered videos whose every caption, second of sound and score must be its own: through workers, retries, edits of the list and splitting, up to the exported tars."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets_tests.faults.shipped import Shipped

FPS, SPAN_S, SPANS = 10, 3, 4
"""Frames a second; seconds of a given span; spans of a video, end to end."""
PER_VIDEO = 1000
RATE = 16000
WIDTH, HEIGHT, BITS = 192, 96, 12

RECIPE = """
dataset: numbers
source: {{format: table, path: list.csv, columns: {{url: path, start: from, end: to, caption: text, licence: terms}}}}
shard: {{videos: 2}}
clips: {{from: {clips}, min_s: 0.5, max_s: {max_s}}}
captions: {{backend: source, where: []}}
audio: {{}}
subsets:
  all: {{where: [{where}], export: {{clips: {{format: webdataset}}}}}}
  listed: {{where: [], export: {{clips: {{format: folder}}}}}}
"""


def picture(number: int, shot: int) -> np.ndarray:
    """A picture that holds its number in white and black cells, on the texture of its shot."""
    small = np.random.default_rng(shot).integers(40, 216, (6, 12, 3), dtype=np.uint8)
    rgb = np.kron(small, np.ones((HEIGHT // 6, WIDTH // 12, 1), dtype=np.uint8))
    rgb[: HEIGHT // 3] = 0
    for bit in range(BITS):
        if number >> bit & 1:
            rgb[: HEIGHT // 3, bit * WIDTH // BITS : (bit + 1) * WIDTH // BITS] = 255
    return rgb


def number_of(rgb: np.ndarray) -> int:
    cells = rgb[HEIGHT // 12 : HEIGHT // 4].mean((0, 2)).reshape(BITS, -1)[:, 4:-4].mean(1)
    return sum(1 << bit for bit, value in enumerate(cells) if value > 127)


def tone(number: int) -> tuple[float, float]:
    """Hertz and amplitude of the sound that lasts as long as the frame with this number; each span of each video has its own pitch."""
    place = number // PER_VIDEO * SPANS + number % PER_VIDEO // (FPS * SPAN_S)
    return 300.0 + 100 * place, 0.5 * 0.6 ** (place % 6)


def write_video(path: Path, first: int) -> None:
    """A video whose frames are numbered from `first`; a new shot begins in the middle of each span."""
    with av.open(str(path), "w") as output:
        heard = output.add_stream("aac", rate=RATE, layout="mono")
        stream = output.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "18"}
        for n in range(FPS * SPAN_S * SPANS):
            shot = first + (n + FPS * SPAN_S // 2) // (FPS * SPAN_S)
            frame = av.VideoFrame.from_ndarray(picture(first + n, shot), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, FPS)
            output.mux(stream.encode(frame))
            hertz, amplitude = tone(first + n)
            at = np.arange(n * RATE // FPS, (n + 1) * RATE // FPS)
            wave = (amplitude * np.sin(2 * np.pi * hertz * at / RATE)).astype(np.float32)
            sound = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, n * RATE // FPS, Fraction(1, RATE)
            output.mux(heard.encode(sound))
        output.mux(stream.encode(None))
        output.mux(heard.encode(None))


def numbers_in(data: bytes) -> list[int]:
    with av.open(io.BytesIO(data)) as container:
        return [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def sound_in(data: bytes) -> np.ndarray:
    """The samples of a clip's sound."""
    with av.open(io.BytesIO(data)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def check_sound(data: bytes, numbers: list[int]) -> None:
    """Each frame's sound has the pitch and loudness of its number; a frame at either end is left out, where the codec fades."""
    samples = sound_in(data)
    for n in range(1, len(numbers) - 1):
        part = samples[n * RATE // FPS : (n + 1) * RATE // FPS]
        hertz, amplitude = tone(numbers[n])
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 8 * len(part)))
        assert abs(np.argmax(spectrum) * RATE / (8 * len(part)) - hertz) < 20
        assert abs(np.sqrt(2) * part.std() / amplitude - 1) < 0.1


@dataclass
class Numbered:
    """An installation with numbered videos and a list of their spans, whose captions say which numbers they are about."""

    root: Path
    words: dict[tuple[int, int], str] = field(default_factory=dict)
    """(video, span) -> caption."""

    def __post_init__(self) -> None:
        self.shipped = Shipped(self.root, environment={"CURATION_WORKERS": "3"})
        (self.root / "videos").mkdir()

    def add(self, video: int, present: bool = True) -> None:
        if present:
            write_video(self.root / "videos" / f"-v{video}.mp4", video * PER_VIDEO)
        self.words |= {(video, k): f"numbers of {video}, {k}" for k in range(SPANS)}

    def run(self, *options: str, **recipe: Any) -> None:
        """Writes the list, rows of different videos between each other and none in order, and brings everything up to date."""
        with open(self.root / "list.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "from", "to", "text", "terms", "place"])
            for video, k in sorted(self.words, key=lambda w: (-w[1] % 3, w)):
                start, end = f"0:00:{SPAN_S * k:02d}.000", str(SPAN_S * (k + 1))
                terms = f"CC-{video}-{k}"
                writer.writerow([f"videos/-v{video}.mp4", start, end, self.words[video, k], terms, video * 10 + k])
        text = RECIPE.format(**{"clips": "given", "max_s": 60, "where": "", **recipe})
        self.shipped.declare("numbers", text.replace("path: list.csv", f"path: {self.root}/list.csv"))
        done = self.shipped.curation("run", str(self.root / "recipes" / "numbers.yaml"), *options, timeout=1500)
        assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]

    def rows(self, asset: str) -> list[dict[str, Any]]:
        folder = Path(self.shipped.data) / asset
        return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]

    def check(self) -> list[tuple[int, int]]:
        """Holds every exported clip against the numbers in its own pictures; the (video, span) of each."""
        found = []
        current = {row["version"] for row in self.rows("clip_dataset")}
        for path in Path(self.shipped.data).glob("clip_dataset/numbers-all/**/*.tar"):
            if not current & set(path.parts):
                continue
            members: dict[str, dict[str, bytes]] = {}
            with tarfile.open(path) as tar:
                for member in tar:
                    key, _, ending = member.name.partition(".")
                    members.setdefault(key, {})[ending] = tar.extractfile(member).read()  # type: ignore[union-attr]
            for sample in members.values():
                numbers = numbers_in(sample["mp4"])
                spans = {(n // PER_VIDEO, n % PER_VIDEO // (FPS * SPAN_S)) for n in numbers}
                assert len(spans) == 1, "a clip lies within one span"
                (video, k) = spans.pop()
                check_sound(sample["mp4"], numbers)
                assert sample["txt"].decode() == self.words[video, k]
                record = json.loads(sample["json"])
                assert record["text"] == record["span"]["caption"] == self.words[video, k]
                assert record["source"]["licence"] == record["span"]["licence"] == f"CC-{video}-{k}"
                assert record["span"]["extra"] == {"place": str(video * 10 + k)}
                found.append((video, k))
        listed = list(csv.DictReader(open(self.listing(), encoding="utf-8", newline="")))
        for row in listed:
            numbers = numbers_in((self.listing().parent / row["file_name"]).read_bytes())
            video, k = numbers[0] // PER_VIDEO, numbers[0] % PER_VIDEO // (FPS * SPAN_S)
            assert (row["text"], row["licence"]) == (self.words[video, k], f"CC-{video}-{k}")
        self.check_scores()
        return sorted(found)

    def check_scores(self) -> None:
        """Holds the scores of each clip against its own frames and sound."""
        spans = {row["clip_id"]: row for row in self.rows("clips") if row["status"] == "ok"}
        scores = {
            asset: {row["clip_id"]: row for row in self.rows(asset)} for asset in ("quality_scores", "audio_scores")
        }
        for rows in scores.values():
            assert rows.keys() == spans.keys()
        for clip_id, row in spans.items():
            first = int(row["video_id"].removeprefix("-v")) * PER_VIDEO + row["start_frame"]
            _, amplitude = tone(first + 1)
            # The meter hears a tone of these pitches up to 2 dB louder or softer than its level; the next level is 4.4 dB away.
            level = 20 * np.log10(amplitude / np.sqrt(2))
            assert abs(scores["audio_scores"][clip_id]["loudness"] - level) < 2.2
            shown = [picture(first + n, self.shot(first + n)) for n in range(row["end_frame"] - row["start_frame"])]
            luma = [float((p @ [0.299, 0.587, 0.114]).mean()) / 255 for p in shown]  # of which some are looked at
            assert min(luma) - 0.01 < scores["quality_scores"][clip_id]["brightness"] < max(luma) + 0.01

    @staticmethod
    def shot(number: int) -> int:
        return number // PER_VIDEO * PER_VIDEO + (number % PER_VIDEO + FPS * SPAN_S // 2) // (FPS * SPAN_S)

    def listing(self) -> Path:
        (version,) = {
            row["version"]
            for row in pq.read_table(f"{self.shipped.data}/clip_dataset/numbers-listed.parquet").to_pylist()
        }
        return Path(self.shipped.data) / "clip_dataset" / "numbers-listed" / version / "metadata.csv"


def test_every_exported_clip_has_the_words_of_its_own_span(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    numbered.add(0)
    numbered.add(1)
    numbered.run(where='"source.place != 12", "licence != \'CC-0-2\'"')
    every = {(v, k) for v in range(2) for k in range(SPANS)}
    assert numbered.check() == sorted(every - {(1, 2), (0, 2)}), "rules saw each clip's own columns"
    spans = {row["video_id"]: row["spans"] for row in numbered.rows("video_metadata")}
    assert sorted(spans) == ["-v0", "-v1"], "a file of one's own is called by its stem"
    for row in numbered.rows("clips"):
        own = spans[row["video_id"]][row["source_span"]]
        assert (own["start_ms"], own["end_ms"]) == (row["requested_start_ms"], row["requested_end_ms"])
    said = numbered.shipped.curation("explain", "-v1_3000_6000").stdout
    assert "numbers of 1, 1" in said
    assert "CC-1-1" in said
    assert "numbers of 1, 0" not in said


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_words_stay_with_their_spans_through_retries_edits_and_splitting(tmp_path: Path) -> None:
    numbered = Numbered(tmp_path)
    for video in range(3):
        numbered.add(video)
    numbered.add(3, present=False)
    numbered.run("--partial")
    assert {v for v, _ in numbered.check()} == {0, 1, 2}
    write_video(tmp_path / "videos" / "-v3.mp4", 3 * PER_VIDEO)
    numbered.run("--select", "raw_shards", "--force")  # a file that a list named before it was there
    numbered.run()
    assert len(numbered.check()) == 4 * SPANS
    before = {row["clip_id"]: row for row in numbered.rows("clips")}
    numbered.words[1, 2] = "said anew"
    numbered.words[2, 0] = "this too"
    del numbered.words[0, 1]
    numbered.run()
    assert len(numbered.check()) == 4 * SPANS - 1
    assert {row["clip_id"] for row in numbered.rows("clips")} == before.keys() - {"-v0_3000_6000"}
    numbered.run(clips="both, detector: content", max_s=1)
    assert len(numbered.check()) >= 2 * (4 * SPANS - 1), "spans are cut at shots, and their pieces keep their words"
