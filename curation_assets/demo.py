"""The demo: makes its own sample videos, serves half of them on loopback, and runs the graph on both halves.

The videos are drawn from photographs that come with installed packages (scikit-image, scikit-learn): shots with pans and zooms, a
face, text, moving objects, fades, near-duplicates, and files that are broken on purpose.
"""

from __future__ import annotations

import csv
import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation_assets import starter
from curation_assets.settings import Settings, SettingsError
from curation_resources import extras

FPS = 25
SIZE = (640, 360)
PORT = 18923
"""Loopback port of the demo's web server: fixed, so that a second run finds the same URLs and has nothing to do."""

RECIPES = ("demo.yaml", "demo_web.yaml")

Picture = np.ndarray
Shot = Callable[[float], Picture]
"""Progress through the shot, 0 to 1 -> RGB picture of the video's size."""


def photographs() -> dict[str, Picture]:
    """Name -> RGB photograph (h, w, 3) uint8, from installed packages."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    loaded = {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket", "brick", "grass")}
    loaded |= {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    return {n: p if p.ndim == 3 else np.stack([p] * 3, axis=-1) for n, p in loaded.items()}


def pan(
    photo: Picture, start: tuple[float, float, float], end: tuple[float, float, float], size: tuple[int, int] = SIZE
) -> Shot:
    """A camera move over a photograph, from one (x, y, zoom) to another: centre in fractions, zoom 1 shows as much as fits."""
    import cv2

    width, height = size
    h, w = photo.shape[:2]
    fit = min(w / width, h / height)

    def shot(t: float) -> Picture:
        x, y, zoom = (a + (b - a) * t for a, b in zip(start, end, strict=True))
        scale = fit / zoom
        half_w, half_h = width * scale / 2, height * scale / 2
        cx = min(max(x * w, half_w), w - half_w)
        cy = min(max(y * h, half_h), h - half_h)
        move = np.array([[scale, 0, cx - half_w], [0, scale, cy - half_h]])
        return cv2.warpAffine(
            photo, move, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )

    return shot


def balls(background: Picture, seed: int) -> Shot:
    """Discs that cross a textured background on straight lines."""
    import cv2

    base = cv2.resize(background, SIZE)
    random = np.random.default_rng(seed)
    paths = [
        (
            random.uniform(0, 1, 2),
            random.uniform(0, 1, 2),
            random.integers(15, 45),
            tuple(map(int, random.integers(0, 255, 3))),
        )
        for _ in range(5)
    ]

    def shot(t: float) -> Picture:
        frame = base.copy()
        for a, b, radius, colour in paths:
            x, y = (a + (b - a) * t) * SIZE
            cv2.circle(frame, (int(x), int(y)), int(radius), colour, -1, cv2.LINE_AA)
        return frame

    return shot


def titled(shot: Shot, lines: Sequence[str]) -> Shot:
    """The same with lines of text burned in."""
    import cv2

    def with_text(t: float) -> Picture:
        frame = shot(t).copy()
        for i, line in enumerate(lines):
            at = (40, 80 + 50 * i)
            cv2.putText(frame, line, at, cv2.FONT_HERSHEY_SIMPLEX, 1.1, (0, 0, 0), 6, cv2.LINE_AA)
            cv2.putText(frame, line, at, cv2.FONT_HERSHEY_SIMPLEX, 1.1, (255, 255, 255), 2, cv2.LINE_AA)
        return frame

    return with_text


def boxed(shot: Shot, bar: float = 0.12) -> Shot:
    """The same between black bars, each `bar` of the height."""
    import cv2

    def with_bars(t: float) -> Picture:
        frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        rows = round(SIZE[1] * bar)
        frame[rows : SIZE[1] - rows] = cv2.resize(shot(t), (SIZE[0], SIZE[1] - 2 * rows))
        return frame

    return with_bars


def film(shots: Sequence[tuple[Shot, float]], dissolve: float = 0.0, fade_in: float = 0.0) -> Iterator[Picture]:
    """The frames of shots of the given seconds one after another, with dissolves between them and a fade from black if asked for."""
    index = 0
    for i, (shot, seconds) in enumerate(shots):
        frames = round(seconds * FPS)
        for k in range(frames):
            picture = shot(k / max(1, frames - 1)).astype(np.float32)
            if i and k < dissolve * FPS:
                before = shots[i - 1][0](1.0).astype(np.float32)
                mix = (k + 1) / (dissolve * FPS + 1)
                picture = before * (1 - mix) + picture * mix
            if index < fade_in * FPS:
                picture = picture * (index / (fade_in * FPS))
            index += 1
            yield picture.clip(0, 255).astype(np.uint8)


def encode(path: Path, pictures: Iterator[Picture], crf: int = 23, tone: float | None = 440.0) -> None:
    """Writes H.264 (and an AAC tone of that pitch, Hz) into an MP4 at `path`."""
    import av

    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "veryfast"})
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


def generate(root: Path) -> None:
    """Writes the sample videos and the list of the served ones; what is there already is left alone, so that nothing looks changed."""
    here, there = root / "videos", root / "web"
    local, web = samples()
    write_videos(here, local)
    write_videos(there, web, captions=False)
    page = there / "blocked.mp4"
    if not page.exists():
        page.write_text("<!doctype html><title>Log in</title><p>Log in to watch this video.</p>")
    write_torn(here)
    rows = [(s.name, f"http://127.0.0.1:{PORT}/{s.name}.mp4", s.caption) for s in web]
    rows += [
        ("blocked", f"http://127.0.0.1:{PORT}/blocked.mp4", "A page, not a video."),
        ("gone", f"http://127.0.0.1:{PORT}/gone.mp4", "Nothing there."),
    ]
    listing = root / "videos.csv"
    if not listing.exists():
        with open(listing, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "url", "caption"))
            writer.writerows(rows)


@contextmanager
def served(folder: Path, port: int = PORT) -> Iterator[None]:
    """Serves a folder by HTTP on loopback while the block runs."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Quiet, directory=str(folder)))
    except OSError as error:
        raise SettingsError(
            f"port {port} of 127.0.0.1, which the web server of the samples needs, is in use ({error.strerror}); stop what uses it"
            " (another demo?) and try again"
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def declare(recipes: Path) -> list[Path]:
    """The recipes of the demo, written into a folder where they are not there yet; says what they go without.

    Raises:
        SettingsError: one cannot be written.
    """
    files = [recipes / name for name in RECIPES]
    for file in files:
        if starter.write(file, file.name):
            print(f"recipe: {file}")
    for extra in starter.left_out(files[0].read_text("utf-8")):
        print(f"the demo goes without what needs the extra {extra}; for the whole of it: {extras.command(extra)}")
    return files


def run_demo(root: Path, home: Path) -> int:
    """Makes the samples, runs both demo recipes and says what to look at.

    Args:
        root: folder of the videos.
        home: DAGSTER_HOME; it gets the instance file of one machine if it has none.

    Returns:
        The exit code.
    """
    starter.write_instance(home)
    files = declare(Path("recipes"))
    print(f"sample videos: {root}", flush=True)
    generate(root)
    from curation_assets.runner import run_recipes  # builds the code location, of the recipes that are there by now

    with served(root / "web"):
        code = run_recipes([Settings.load(recipes=str(file)) for file in files])
    name = starter.program()
    print(
        f"\nLook at it: `{name} ui`, then http://127.0.0.1:3000, *Catalog*, for example `frames`, *Partitions*, demo-00000: a contact sheet; every"
        "\nasset has histograms, checks and costs. docs/how-to/ui.md is a tour with pictures."
        "\nThe tables are Parquet files below the storage root (./data): data/clips/demo-00000.parquet and so on."
        f"\nWhat was kept and why: `{name} report demo`. Your own videos: `{name} init /folder/of/videos`."
    )
    return code


def run_samples(folder: Path) -> int:
    """Writes the videos of the tutorial into a folder. Returns the exit code."""
    write_videos(folder, few_samples())
    write_torn(folder)
    print(f"{folder}: {', '.join(sorted(p.name for p in folder.glob('*.mp4')))}")
    return 0
