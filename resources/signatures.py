"""What a file is by its first bytes, where that is plainly no video: web pages, playlists, pictures still and animated.

What belongs here: signatures and the sentence part that names the kind. What does not: whether media can be read (`probe.py`).
"""

from __future__ import annotations

_PICTURES = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS\0\x01", "Photoshop"),
    (b"qoif", "QOI"),
    (b"v/1\x01", "OpenEXR"),
    (b"DDS ", "DDS"),
    (b"\0\0\x01\0", "icon"),
)
"""Of formats that hold one picture. `BM` and the icon's are short: what follows them is looked at too."""
_ARCHIVES = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b\x08", "gzip data"),
    (b"%PDF-", "a PDF"),
    (b"Rar!\x1a\x07", "a RAR archive"),
)


def no_media(head: bytes) -> str | None:
    """What a file is by its first bytes, a thousand or so, if it is plainly no video ('an HTML page, not a video', ...), else None."""
    if not head:
        return "empty"
    if animated := _animation(head):
        return f"{animated}, not a video; convert it to one to have it read"
    plain = _plain(head)
    return f"{plain}, not a video" if plain else None


def _plain(head: bytes) -> str | None:
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in text:
        return "a picture (SVG)"
    if text.startswith(b"<?xml") or text.startswith(b"<error"):
        return "XML"
    if text.startswith((b"{", b"[")):
        return "JSON"
    if text.startswith(b"#extm3u"):
        return "a playlist"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    return _picture(head) or next((name for magic, name in _ARCHIVES if head.startswith(magic)), None)


def _animation(head: bytes) -> str | None:
    if head.startswith(b"GIF8"):
        return "a GIF"
    # In PNG the chunk that animates comes before the first picture's data; in WebP bit 1 of the extended format's flags tells.
    if head.startswith(b"\x89PNG") and b"acTL" in head.partition(b"IDAT")[0]:
        return "an animated picture (PNG)"
    if _is_webp(head) and head[12:16] == b"VP8X" and len(head) > 20 and head[20] & 2:
        return "an animated picture (WebP)"
    return None


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _picture(head: bytes) -> str | None:
    if _is_webp(head):
        return "a picture (WebP)"
    for magic, name in _PICTURES:
        if head.startswith(magic) and _holds(name, head):
            return f"a picture ({name})"
    return None


def _holds(name: str, head: bytes) -> bool:
    """Whether what follows a short signature fits: reserved bytes that are zero."""
    if name == "BMP":
        return head[6:10] == b"\0\0\0\0" and len(head) > 14
    return name != "icon" or (0 < head[4] < 64 and head[5] == 0 and head[9] == 0)
