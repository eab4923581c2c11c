"""What is to be said of a recipe that can be read: files that it names and that are not there, what does not run on this machine, and what may surprise.

`curation validate` and `curation plan` say it. What belongs here: what can be told without fetching, computing or reading any table. What does not: whether a
recipe can be read at all (`recipes.py`, `rules/faults.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.curating.subset_tables import read_ids
from curation_assets.recipes import Recipe
from curation_assets.registry import component
from curation_assets.rules.language import parse_rule
from curation_assets.selection import assets_of_recipe
from curation_assets.settings import Settings
from curation_resources.detectors.vocabulary import VocabularyError, load_vocabulary
from curation_resources.encoders import ENCODERS, NoEncoder
from curation_resources.extras import MissingExtra
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.weights import MissingWeights, NotFetched, WrongWeights, fetch_weights, nothing_fetched


class Kind(Enum):
    """How a remark is meant."""

    FAULT = "a run will fail"
    HERE = "a run on this machine will fail"
    DOUBT = "it may not be what was meant"


@dataclass(frozen=True)
class Remark:
    """Something that is to be said of a recipe: a sentence that names the key and what to do."""

    kind: Kind
    text: str


def remarks(recipe: Recipe, settings: Settings) -> Iterator[Remark]:
    """All that is to be said, each sentence once, faults first. Where pods do the work, of what this machine lacks nothing is said."""
    found = [*_tables(recipe), *_vocabulary(recipe), *_exports(recipe), *_lists(recipe), *_two_verdicts(recipe)]
    for kind in Kind:
        if kind is not Kind.HERE or settings.executor != "k8s":
            yield from dict.fromkeys(r for r in found if r.kind is kind)


def _told(ask: Callable[[], object], where: str = "", of: str = "") -> Iterator[Remark]:
    """What keeps something from being had. What would have to be fetched is not asked for.

    Args:
        where: begins every sentence.
        of: begins those of files that cannot be read, which may not say what they are for.
    """
    try:
        with nothing_fetched():
            ask()
    except NotFetched:
        return
    except MissingExtra as error:
        yield Remark(Kind.HERE, f"{where}{error}")
    except VocabularyError:
        return  # said by its own name
    except (MissingWeights, WrongWeights) as error:
        yield Remark(Kind.FAULT, f"{where}{error}")
    except (*READ_ERRORS, ValueError) as error:
        yield Remark(Kind.FAULT, f"{where or of}{error}")


def _tables(recipe: Recipe) -> Iterator[Remark]:
    for asset in assets_of_recipe(recipe):
        part = component(asset)
        lacking = list(_told(partial(part.installed, recipe), f"{asset} cannot be made here: "))
        lacking = lacking or list(_told(partial(part.weights, recipe), of=f"{asset}: "))
        yield from lacking or _told(partial(part.named, recipe))


def _vocabulary(recipe: Recipe) -> Iterator[Remark]:
    if "tracks" not in assets_of_recipe(recipe) or recipe.tracks.brought_identity():
        return
    try:
        load_vocabulary(recipe.tracks.vocabulary)
    except VocabularyError as error:
        yield Remark(Kind.FAULT, f"tracks.vocabulary: {error}")


def _exports(recipe: Recipe) -> Iterator[Remark]:
    for name, subset in recipe.subsets.items():
        clips = subset.export.clips
        if clips is None:
            continue
        at = f"subsets.{name}: "
        for cover in clips.covers:
            yield from _told(cover.identity, at)
            yield from _told(cover.fetch, at)
        if clips.leak_model is not None:
            wanted = clips.leak_model, "the second face detector", "export.clips.leak_model"
            yield from _told(partial(fetch_weights, *wanted), at)
        yield from (Remark(r.kind, f"subsets.{name}.{r.text}") for r in encoder_remarks(clips))


def encoder_remarks(clips: ClipExport) -> Iterator[Remark]:
    """What is to be said of the encoder of exported clips."""
    encoder = ENCODERS[clips.encoder]
    if clips.cut != "copy":
        try:
            encoder.check()
        except NoEncoder as error:
            yield Remark(Kind.HERE, str(error))
    if clips.way == "smart" and encoder.codec != ENCODERS["libx264"].codec:
        yield Remark(
            Kind.DOUBT,
            f"export.clips.encoder: {clips.encoder} encodes only clips that are encoded whole; with `cut: smart` those of H.264 sources stay H.264, since their pictures "
            "are copied; for H.265 throughout say `cut: exact`",
        )


def _lists(recipe: Recipe) -> Iterator[Remark]:
    for name, subset in recipe.subsets.items():
        named: Sequence[tuple[str, str]] = [
            *((f"exclude[{n}]", path) for n, path in enumerate(subset.exclude)),
            *((f"split.lists.{split}", path) for split, path in subset.split.lists.items()),
        ]
        for key, path in named:
            try:
                read_ids([path])
            except (*READ_ERRORS, ValueError) as error:
                yield Remark(Kind.FAULT, f"subsets.{name}.{key}: {error}")


def _two_verdicts(recipe: Recipe) -> Iterator[Remark]:
    """Subsets by both verdicts on duplicates, where copies are embedded: of two copies one may be dropped by each (docs/explanation/concepts.md)."""
    if any("keep" in parse_rule(rule).columns for rule in recipe.embeddings.where):
        return
    for name, subset in recipe.subsets.items():
        named = {column for rule in subset.where for column in parse_rule(rule).columns}
        if {"keep", "semantic_keep"} <= named:
            yield Remark(
                Kind.DOUBT,
                f"subsets.{name}.where: `keep` and `semantic_keep` may drop all copies of a scene, one by each, since copies are embedded too; "
                "say `embeddings: {where: [keep]}`, or leave `keep` out of the subset",
            )
