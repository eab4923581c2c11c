"""Vocabularies: the names that a detector looks for.

LVIS's 1,203 and COCO's 80 category names come along, in the order of the datasets' own numbering, so that class numbers agree
with records made elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "vocabularies"
SHIPPED = ("lvis", "coco")


class VocabularyError(ValueError):
    """A vocabulary that cannot be used; the message names it and what is wanted."""


def load_vocabulary(name: str) -> tuple[str, ...]:
    """The class names of a vocabulary, in order.

    Args:
        name: `lvis`, `coco`, `faces`, or the path of a file: a name per line (empty lines and lines that begin with # are left
            out), or JSON in LVIS's form (a list of categories, or an object with `categories`, each with `id` and `name`; ordered
            by id).

    Raises:
        VocabularyError: no such vocabulary, an unreadable file, no name in it, or a name twice.
    """
    if name == "faces":
        return ("face",)
    path = FOLDER / f"{name}.txt" if name in SHIPPED else Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise VocabularyError(
            f"vocabulary {name!r}: {getattr(error, 'strerror', None) or error}; give lvis, coco, faces or the path of a text file with a name per line"
        ) from error
    names = _from_json(text, name) if text.lstrip()[:1] in ("[", "{") else _from_lines(text)
    if not names:
        raise VocabularyError(f"vocabulary {name!r} has no names; it wants one per line")
    doubled = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise VocabularyError(f"vocabulary {name!r} has {doubled[0]!r} more than once; remove the repetition")
    return tuple(names)


def _from_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _from_json(text: str, name: str) -> list[str]:
    try:
        data = json.loads(text)
        categories = data["categories"] if isinstance(data, dict) else data
        return [str(c["name"]) for c in sorted(categories, key=lambda c: int(c["id"]))]
    except (ValueError, KeyError, TypeError) as error:
        raise VocabularyError(
            f"vocabulary {name!r} is not JSON as LVIS writes it, a list of categories with `id` and `name` ({error})"
        ) from error


def spoken(name: str) -> str:
    """A class name as a text model should read it: LVIS's `bow_(weapon)` becomes `bow (weapon)`."""
    return name.replace("_", " ")
