"""The glossary has each word once, speaks of names that the code has, and defines what tables and commands say without explaining it."""

from __future__ import annotations

import functools
import re
from collections import Counter

from curation_assets.engine.staleness import STATES
from curation_assets.schemas import SCHEMAS
from curation_assets_tests.docs.site import ROOT

TEXT = (ROOT / "docs/reference/glossary.md").read_text()
ENTRIES = dict(re.findall(r"^- \*\*([^*]+)\*\*: (.+)$", TEXT, re.M))
WORDS = [
    "accounting",
    "at_work",
    "boundary",
    "candidate",
    "cascade",
    "clip",
    "cluster",
    "commit",
    "course",
    "criterion",
    "cue",
    "cut",
    "declared",
    "fault",
    "fingerprint",
    "footer",
    "force",
    "funnel",
    "given_span",
    "given_up",
    "head",
    "journal",
    "keep",
    "look",
    "media",
    "parameters",
    "partition",
    "piece",
    "pool",
    "proposal",
    "provenance",
    "range",
    "recipe",
    "rejected",
    "relation",
    "rule",
    "run",
    "sample",
    "score",
    "settled",
    "shard",
    "shot",
    "signature",
    "slice",
    "source",
    "span",
    "split",
    "spool",
    "stage",
    "subset",
    "survivor",
    "takedown",
    "tick",
    "token",
    "tombstone",
    "track",
    "transient",
    "version",
    "volatile",
    "waiting",
    "weights",
    "window",
]
"""Words that docstrings and descriptions use in a sense of this project."""


@functools.cache
def code() -> str:
    """The text of the package, lower case."""
    files = (f for folder in ("curation_assets", "resources") for f in (ROOT / folder).rglob("*.py"))
    return "\n".join(f.read_text() for f in files).lower()


def test_each_word_has_one_definition_of_few_sentences() -> None:
    named = re.findall(r"^- \*\*([^*]+)\*\*", TEXT, re.M)
    assert [w for w, n in Counter(w.lower() for w in named).items() if n > 1] == []
    assert len(ENTRIES) == len(named) > 80
    for word, said in ENTRIES.items():
        sentences = re.split(r"(?<=[.)])\s+(?=[A-Z])", said)
        assert said.endswith("."), word
        assert 1 <= len(sentences) <= 4, word


def test_the_glossary_speaks_of_names_that_the_code_has() -> None:
    unknown = {
        f"{word}: {name}"
        for word, said in ENTRIES.items()
        for name in re.findall(r"`([A-Za-z_][A-Za-z_0-9]*)`", said)
        if not re.search(rf"\b{re.escape(name.lower())}\b", code())
    }
    assert unknown == set()


def test_words_of_the_code_are_defined_and_used() -> None:
    assert {w.replace("_", " ") for w in WORDS} - ENTRIES.keys() == set()
    unused = [w for w in WORDS if not re.search(rf"\b{w.replace('_', '[ _-]')}s?\b", code())]
    assert unused == []


def test_states_and_values_of_columns_are_defined() -> None:
    """What `curation stale` calls tables, and the values of columns that say how clips came about and how copies are alike."""
    assert set(STATES) <= ENTRIES.keys()
    for asset, column, entry in (("clips", "origin", "origin"), ("dedup", "relation", "relation")):
        said = set(re.findall(r"`(\w+)`", ENTRIES[entry]))
        assert said == set(SCHEMAS[asset].column(column).allowed)
    statuses = {v for s in SCHEMAS.values() for c in s.columns if c.name == "status" for v in c.allowed}
    assert {"rejected", "removed"} <= statuses & ENTRIES.keys()
