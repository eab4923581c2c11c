"""What changed since a table was made, in words: code version, parameters, weights, inputs. What does not belong here: whether it matters (`staleness.py`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from curation_resources.provenance import Provenance, canonical_json

ABSENT = object()
"""Stands for the value of a key that is not there, which is something else than null."""


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ: `clips.threshold: 11.5 -> 27.0`; of lists, only the part that does. A key on one side is `absent` on the other."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), f"{path}.{key}" if path else str(key))
    elif old != new and isinstance(old, list) and isinstance(new, list):
        shorter = min(len(old), len(new))
        head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
        tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
        gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
        if head + tail and len(gone) == len(come) == 1:
            yield from differences(gone[0], come[0], f"{path}[{head}]")
        else:
            yield f"{path}: {_short(gone)} -> {_short(come)}"
    elif old != new:
        yield f"{path or 'parameters'}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = "absent" if value is ABSENT else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def reasons(old: Provenance, new: Provenance) -> tuple[str, ...]:
    """Why a table made from `old` would be made anew from `new`."""
    found = []
    if old.code_version != new.code_version:
        found.append(f"code version {old.code_version} -> {new.code_version}")
    found += [f"parameter {d}" for d in differences(_plain(old.params), _plain(new.params))]
    found += [d if d.startswith("file ") else f"weights {d}" for d in differences(dict(old.weights), dict(new.weights))]
    for name in sorted({*old.inputs, *new.inputs}):
        if old.inputs.get(name) != new.inputs.get(name):
            both = name in old.inputs and name in new.inputs
            found.append(
                f"input {name} {'changed' if both else 'is new' if name in new.inputs else 'is no longer used'}"
            )
    return tuple(found)


def _plain(value: Any) -> Any:
    """As it looks after a round trip through JSON, which is how values of footers were stored."""
    return json.loads(canonical_json(value))
