"""Runs the lines of docs/how-to/reading.md: in this process when a test imports it, elsewhere as `python -m ... NAME VERSION SPLIT`, which prints JSON."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curation_assets_tests.frame_numbers import number_in

PAGE = Path(__file__).parents[2] / "docs/how-to/reading.md"


def names(kind: str) -> list[str]:
    """The readers of which the page has lines: `reader` for samples, `pictures` for the frames of a clip."""
    return re.findall(rf"<!-- {kind}: (\S+) -->", PAGE.read_text())


def lines(kind: str, name: str) -> str:
    """The lines of a reader."""
    found = re.search(rf"<!-- {kind}: {name} -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, f"{PAGE} has no lines for {name}"
    return found[1]


def samples(name: str, version: str, split: str) -> list[dict[str, Any]]:
    """What a reader gives: key, caption, JSON, and the hash of the video's bytes or the numbers of its pictures."""
    with tempfile.TemporaryDirectory(prefix="reading-") as scratch:
        given = {"version": version, "split": split, "scratch": scratch, "__name__": "lines"}
        exec(compile(lines("reader", name), f"{PAGE} {name}", "exec"), given)  # noqa: S102 - this project's own page
        return [_plain(s) for s in given["samples"]]


def _plain(sample: dict[str, Any]) -> dict[str, Any]:
    said = {k: sample[k] for k in ("key", "text", "record")}
    if "pictures" in sample:
        return {**said, "numbers": [number_in(p[1].numpy()) for p in sample["pictures"]]}
    return {**said, "sha256": hashlib.sha256(sample["mp4"]).hexdigest()}


def numbers(name: str, clip: str) -> list[int]:
    """The numbers of the pictures that a decoder gives of a clip, in its order; green stands for the luma."""
    given = {"clip": clip, "__name__": "lines"}
    exec(compile(lines("pictures", name), f"{PAGE} {name}", "exec"), given)  # noqa: S102 - this project's own page
    pictures: Iterable[Any] = given["pictures"]
    return [number_in(p[..., 1]) for p in pictures]


if __name__ == "__main__":
    kind, name, *rest = sys.argv[1:]
    print(json.dumps(samples(name, *rest) if kind == "reader" else {c: numbers(name, c) for c in rest}))
