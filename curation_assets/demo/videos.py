"""The sample videos, each as frames and a caption, and how they become files; some are near-duplicates or broken on purpose."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation_assets.demo.drawing import FPS, SIZE, Picture, Shot, balls, boxed, film, pan, photographs, titled
from curation_resources.x264 import repeatable


def encode(path: Path, pictures: Iterator[Picture], crf: int = 23, tone: float | None = 440.0) -> None:
    """Writes H.264 (and an AAC tone of that pitch, Hz) into an MP4 at `path`."""
    import av

    options = {"crf": str(crf), "preset": "veryfast", "threads": "1"} | repeatable()
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options=options)
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=44100, layout="mono") if tone else None
        frames = 0
        for picture in pictures:
            if frames == 0:
                video.height, video.width = picture.shape[:2]
            for packet in video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
            frames += 1
        for packet in video.encode(None):
            container.mux(packet)
        if audio is not None and tone is not None:
            samples = np.arange(44100 * frames // FPS)
            wave = (0.2 * np.sin(2 * np.pi * tone * samples / 44100)).astype(np.float32)
            for start in range(0, len(wave), 1024):
                sound = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
                sound.sample_rate, sound.pts = 44100, start
                for packet in audio.encode(sound):
                    container.mux(packet)
            for packet in audio.encode(None):
                container.mux(packet)


@dataclass(frozen=True)
class SampleVideo:
    """One demo video: its name, caption, and frames."""

    name: str
    caption: str
    frames: Callable[[], Iterator[Picture]]
    crf: int = 23
    tone: float | None = 440.0


def samples() -> tuple[list[SampleVideo], list[SampleVideo]]:
    """The videos of the folder and those behind the web server."""
    import cv2

    photo = photographs()
    travel: list[tuple[Shot, float]] = [
        (pan(photo["china"], (0.3, 0.5, 1.2), (0.7, 0.5, 1.2)), 3.0),
        (pan(photo["coffee"], (0.5, 0.5, 1.0), (0.5, 0.45, 1.6)), 2.6),
        (pan(photo["flower"], (0.6, 0.5, 1.5), (0.4, 0.5, 1.2)), 3.2),
    ]
    portrait = pan(photo["astronaut"], (0.45, 0.25, 1.1), (0.45, 0.3, 1.5))
    cat = pan(photo["chelsea"], (0.4, 0.5, 1.1), (0.6, 0.5, 1.3))
    small = (SIZE[0] // 2, SIZE[1] // 2)

    def copied() -> Iterator[Picture]:
        for picture in film(travel):
            frame = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
            cv2.rectangle(frame, (small[0] - 50, 6), (small[0] - 6, 24), (250, 220, 30), -1)
            yield frame

    folder = [
        SampleVideo("travel", "A palace, a cup of coffee and a flower.", lambda: film(travel)),
        SampleVideo(
            "portrait", "A woman in an orange suit looks at the camera.", lambda: film([(portrait, 4.0)]), tone=220
        ),
        SampleVideo(
            "balls",
            "Coloured discs cross a brick wall.",
            lambda: film([(balls(photo["brick"], 1), 4.0), (balls(photo["grass"], 2), 4.0)]),
        ),
        SampleVideo(
            "cinema",
            "A cat between black bars.",
            lambda: film([(boxed(cat), 4.0), (boxed(pan(photo["rocket"], (0.5, 0.3, 1), (0.5, 0.7, 1))), 3.0)]),
        ),
        SampleVideo(
            "slide",
            "A slide with text.",
            lambda: film(
                [
                    (
                        titled(
                            lambda t: np.full((SIZE[1], SIZE[0], 3), 40, np.uint8),
                            ["QUARTERLY REPORT", "all numbers up", "thank you"],
                        ),
                        4.0,
                    )
                ]
            ),
            tone=None,
        ),
    ]
    web = [
        SampleVideo("travel-copy", "The palace again, smaller and with a logo.", copied, crf=33),
        SampleVideo(
            "dissolve",
            "A cat becomes a rocket.",
            lambda: film(
                [(cat, 3.0), (pan(photo["rocket"], (0.5, 0.6, 1), (0.5, 0.3, 1.3)), 3.5)], dissolve=0.8, fade_in=0.6
            ),
        ),
        SampleVideo(
            "subtitled",
            "A flower with a subtitle.",
            lambda: film(
                [
                    (
                        titled(
                            pan(photo["flower"], (0.3, 0.4, 1.2), (0.6, 0.6, 1.2)),
                            ["", "", "", "", "a flower in spring"],
                        ),
                        4.0,
                    )
                ]
            ),
        ),
        SampleVideo(
            "interview",
            "A woman talks, then a cup of coffee.",
            lambda: film(
                [
                    (pan(photo["astronaut"], (0.42, 0.2, 1.6), (0.48, 0.2, 1.7)), 3.0),
                    (pan(photo["coffee"], (0.4, 0.5, 1.4), (0.6, 0.5, 1.4)), 3.0),
                ]
            ),
            tone=330,
        ),
    ]
    return folder, web


def few_samples() -> list[SampleVideo]:
    """What the tutorial is about: three shots, a smaller copy of them, things that move, and a picture that stands still."""
    import cv2

    photo = photographs()

    def travel() -> Iterator[Picture]:
        shots: list[tuple[Shot, float]] = [
            (pan(photo["china"], (0.3, 0.5, 1.2), (0.7, 0.5, 1.2)), 2.4),
            (pan(photo["coffee"], (0.5, 0.5, 1.0), (0.5, 0.45, 1.6)), 2.0),
            (pan(photo["flower"], (0.6, 0.5, 1.5), (0.4, 0.5, 1.2)), 2.8),
        ]
        return film(shots)

    def copied() -> Iterator[Picture]:
        return (cv2.resize(p, (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA) for p in travel())

    def slide(t: float) -> Picture:
        return np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)

    lines = ["QUARTERLY REPORT", "all numbers up", "thank you"]
    return [
        SampleVideo("balls", "Coloured discs cross a brick wall.", lambda: film([(balls(photo["brick"], 1), 3.0)])),
        SampleVideo("slide", "A slide with text.", lambda: film([(titled(slide, lines), 2.0)]), tone=None),
        SampleVideo("travel", "A palace, a cup of coffee and a flower.", travel),
        SampleVideo("travel-copy", "The palace again, smaller.", copied, crf=33),
    ]


def write_videos(folder: Path, videos: Sequence[SampleVideo], captions: bool = True) -> None:
    """Writes samples as videos, with their captions beside them; what is there already is left alone, so that nothing looks changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in videos:
        target = folder / f"{sample.name}.mp4"
        if not target.exists():
            scratch = folder / f".{sample.name}.part.mp4"
            encode(scratch, sample.frames(), sample.crf, sample.tone)
            os.replace(scratch, target)
            if captions:
                target.with_suffix(".txt").write_text(sample.caption + "\n")


def write_torn(folder: Path) -> None:
    """Writes the first half of `travel.mp4` as a video that is cut off."""
    torn = folder / "torn.mp4"
    if not torn.exists():
        whole = (folder / "travel.mp4").read_bytes()
        torn.write_bytes(whole[: len(whole) // 2])
