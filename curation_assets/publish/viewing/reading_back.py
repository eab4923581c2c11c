"""Labels from what people tagged in a view: each tag of a clip becomes a label in the recipe's file, and one that was taken away there is taken back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from curation_assets.recipes import Recipe
from curation_assets.scores.label_file import NAME, LabelError, LabelFile, Said

TAGS = "tags.jsonl"


class NoTags(ValueError):
    """A view of which no tags can be read; the message says what to do."""


@dataclass(frozen=True)
class ReadBack:
    """What came of the tags.

    Attributes:
        given, taken_back: labels that are new, and that hold no more.
        unnamed: tags of which no label can be made, since they have no letter or digit.
    """

    given: int
    taken_back: int
    unnamed: tuple[str, ...]


def read_back(folder: Path, tool: str, recipes: Mapping[str, Recipe]) -> ReadBack:
    """Adds the tags of a view to the files of labels of the recipes of its datasets.

    Only labels that came from the same tool are taken back, and only of clips that the view has.

    Raises:
        NoTags: the tool's script has not written them, a line cannot be read, or a recipe names no file of labels, or one that cannot be read.
    """
    tagged: dict[tuple[str, str], set[str]] = {
        (c["dataset"], c["clip"]): set() for c in _lines(folder / "clips.jsonl", "that is no view")
    }
    unnamed: dict[str, None] = {}
    for line in _lines(folder / TAGS, f"run the script of the folder with --tags in the environment of {tool} first"):
        own = tagged.get((line["dataset"], line["clip"]))
        label = label_of(line["tag"])
        if label is None:
            unnamed[line["tag"]] = None
        elif own is not None:
            own.add(label)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    given = taken = 0
    for dataset in sorted({d for d, _ in tagged}):
        recipe = recipes.get(dataset)
        if recipe is None or not recipe.labels.file:
            raise NoTags(f"the recipe of {dataset} names no file of labels: add labels: {{file: labels.jsonl}}")
        file = LabelFile(recipe.labels.file)
        try:
            held = file.labels()
        except LabelError as error:
            raise NoTags(str(error)) from error
        said = []
        for (_, clip), labels in sorted((k, v) for k, v in tagged.items() if k[0] == dataset):
            known = held.get(clip, {})
            said += [Said(clip, label, True, tool, now) for label in sorted(labels - known.keys())]
            gone = [name for name, one in sorted(known.items()) if one.who == tool and name not in labels]
            said += [Said(clip, label, False, tool, now) for label in gone]
            taken += len(gone)
        if said:
            file.add(said)
        given += sum(one.holds for one in said)
    return ReadBack(given, taken, tuple(unnamed))


def label_of(tag: str) -> str | None:
    """A tag as a word that rules can name: `Bad cut!` is `bad_cut`; None where nothing is left of it."""
    word = re.sub(r"[^a-z0-9]+", "_", tag.casefold()).strip("_")
    word = word if not word or word[0].isalpha() else f"tag_{word}"
    return word[:64] if NAME.fullmatch(word[:64]) else None


def _lines(path: Path, otherwise: str) -> list[dict[str, str]]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise NoTags(f"{path} is not there: {otherwise}") from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            found.append(
                {name: str(row[name]) for name in ("dataset", "clip", *(("tag",) if path.name == TAGS else ()))}
            )
        except (ValueError, KeyError, TypeError) as error:
            raise NoTags(f"{path} line {number} cannot be read: {otherwise}") from error
    return found
