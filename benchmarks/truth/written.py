"""Lines of text in many scripts, written into pictures.

Fonts: DejaVu Sans comes with matplotlib and has seven of the scripts; the others need Noto (Debian's fonts-noto-core and
fonts-noto-cjk), found through fontconfig. What belongs here: writing. What does not: whether it is found (`text`).
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
SENTENCES = {
    "Latin": "Every morning I walk to the river",
    "Cyrillic": "Каждое утро я иду к реке",
    "Greek": "Κάθε πρωί περπατώ στο ποτάμι",
    "Arabic": "أمشي كل صباح إلى النهر",
    "Hebrew": "כל בוקר אני הולך לנהר",
    "Armenian": "Ամեն առավոտ ես քայլում եմ դեպի գետ",
    "Georgian": "ყოველ დილით მდინარემდე მივდივარ",
    "Devanagari": "हर सुबह मैं नदी तक जाता हूँ",
    "Thai": "ทุกเช้าฉันเดินไปที่แม่น้ำ",
    "Tamil": "தினமும் காலையில் ஆற்றுக்கு",
    "Korean": "나는 매일 아침 강까지 걷는다",
    "Chinese": "我每天早晨走到河边",
    "Japanese": "毎朝わたしは川まで歩きます",
}
NOTO = {
    "Devanagari": "Noto Sans Devanagari",
    "Thai": "Noto Sans Thai",
    "Tamil": "Noto Sans Tamil",
    "Korean": "Noto Sans CJK KR",
    "Chinese": "Noto Sans CJK SC",
    "Japanese": "Noto Sans CJK JP",
}


@dataclass(frozen=True)
class Style:
    """How a line is written.

    Attributes:
        size: of the font, pixels.
        outline: width of a black outline, pixels.
        turn: degrees, counter-clockwise.
        opacity: 0 to 1.
        height: where its lower edge is, share of the picture's height.
    """

    size: int
    outline: int = 0
    turn: float = 0.0
    opacity: float = 1.0
    height: float = 0.85


@lru_cache(maxsize=64)
def font_file(script: str) -> Path | None:
    """Path of a bold font that has the script; None if there is none on this machine."""
    if script not in NOTO:
        import matplotlib

        return Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"
    try:
        query = ["fc-match", "-f", "%{family}\n%{file}", f"{NOTO[script]}:bold"]
        family, path = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        return None
    return Path(path) if NOTO[script] in family else None


def write(picture: Picture, text: str, font: Path, style: Style) -> tuple[Picture, NDArray[np.bool_]]:
    """The picture, uint8 (h, w, 3), with a line in white in its middle, and which of its pixels (h, w) the line covers."""
    height, width = picture.shape[:2]
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw, face = ImageDraw.Draw(layer), ImageFont.truetype(str(font), style.size)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=face, stroke_width=style.outline)
    place = ((width - (right - left)) / 2 - left, style.height * height - (bottom - top) - top)
    ink = round(255 * style.opacity)
    draw.text(place, text, font=face, fill=(255, 255, 255, ink), stroke_width=style.outline, stroke_fill=(0, 0, 0, ink))
    if style.turn:
        centre = (width / 2, style.height * height - (bottom - top) / 2)
        layer = layer.rotate(style.turn, center=centre, resample=Image.Resampling.BICUBIC)
    written = Image.fromarray(picture).convert("RGBA")
    written.alpha_composite(layer)
    return np.asarray(written.convert("RGB")), np.asarray(layer)[..., 3] > 0


def texture(seed: int, width: int = 683, height: int = 384) -> Picture:
    """A busy picture without text, uint8 (h, w, 3): blobs at all scales with hard edges, as foliage and crowds have them."""
    import cv2

    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for scale in (4, 9, 20, 45):
        noise = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 3)).astype(np.float32), (0, 0), scale)
        picture += np.tanh(3 * noise / noise.std()) * scale**0.5
    picture = (picture - picture.min()) / (picture.max() - picture.min())
    return np.asarray(np.clip(30 + 170 * picture, 0, 255), np.uint8)
