"""`curation captions`: how healthy the captions of datasets are, and two sets of them against each other."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.commands.installation import Commands, found_recipes, is_recipe_file, store_of
from curation_assets.recipes import RecipeError
from curation_assets.settings import Settings, SettingsError
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.captions.health import CaptionContest, CaptionHealth
    from curation_resources.tables import TableStore


def add(commands: Commands) -> None:
    """Adds the command."""
    captions = commands.add_parser(
        "captions",
        help="how healthy captions are, and two sets of them against each other",
        description="Counts what is missing, refused, said with doubt, cut off or said of many clips in the same words, lengths, languages, and the match with the pictures where "
        "`caption_scores` has it. With --against, holds the captions against those of the same clips elsewhere.",
    )
    captions.add_argument("what", nargs="?", help="a recipe file or a dataset; default: all of CURATION_RECIPES")
    captions.add_argument(
        "--against", metavar="ROOT|FILE", help="another storage root, or a file that --freeze has written"
    )
    captions.add_argument(
        "--freeze",
        metavar="FILE",
        help="write the captions of some clips to a file, to hold others against: JSON lines of clip_id and caption, which a person may correct",
    )
    captions.add_argument(
        "--count", type=int, default=200, help="clips that --freeze takes, by a hash of their ids; default: 200"
    )
    captions.add_argument("--json", action="store_true", help="a JSON object per dataset")
    captions.set_defaults(call=_captions)


def _captions(arguments: argparse.Namespace) -> int:
    from curation_assets.captions.health import captions_of, frozen, health

    settings = Settings.load()
    store = store_of(settings)
    found = 0
    for dataset in _datasets(settings, arguments.what):
        if arguments.freeze:
            kept = frozen(captions_of(store, dataset), arguments.count)
            found += bool(kept)
            _freeze(arguments.freeze, kept)
            print(f"{plural(len(kept), 'caption', commas=True)} of {dataset} in {arguments.freeze}")
            return 0 if kept else 1
        if arguments.against:
            one = _contest(store, settings, dataset, arguments.against)
            found += bool(one.both)
            print(json.dumps({"dataset": dataset, **asdict(one)}) if arguments.json else _told_contest(dataset, one))
            continue
        whole = health(store, dataset)
        if whole is None:
            continue
        found += 1
        print(
            json.dumps({"dataset": dataset, **asdict(whole)}, ensure_ascii=False)
            if arguments.json
            else _told(dataset, whole)
        )
    if not found:
        raise RecipeError("there are no captions of that; `captions:` in a recipe asks for them")
    return 0


def _datasets(settings: Settings, given: str | None) -> list[str]:
    if given and is_recipe_file(given):
        return list(found_recipes(settings, [given]).usable)
    known = list(found_recipes(settings).usable)
    if given and given not in known:
        raise RecipeError(f"no recipe declares the dataset {given!r}; there are {', '.join(known)}")
    return [given] if given else known


def _freeze(file: str, kept: Mapping[str, str]) -> None:
    lines = (json.dumps({"clip_id": clip, "caption": text}, ensure_ascii=False) for clip, text in kept.items())
    try:
        with open(file, "x", encoding="utf-8") as out:
            out.writelines(f"{line}\n" for line in lines)
    except FileExistsError as error:
        raise SettingsError(
            f"--freeze {file}: it is there already, and what is frozen stays; name another file"
        ) from error
    except OSError as error:
        raise SettingsError(f"--freeze {file} cannot be written ({error.strerror})") from error


def _contest(store: TableStore, settings: Settings, dataset: str, against: str) -> CaptionContest:
    from curation_assets.captions.health import captions_of, contest, matches_of

    own, scored = captions_of(store, dataset), matches_of(store, dataset)
    if Path(against).is_file():
        others = _frozen(Path(against))
        return contest(others, {c: t for c, t in own.items() if c in others}, ({}, scored))
    other = store_of(settings.model_copy(update={"storage": against, "sample": None}))
    return contest(captions_of(other, dataset), own, (matches_of(other, dataset), scored))


def _frozen(file: Path) -> dict[str, str]:
    """clip -> caption of a file of JSON lines."""
    found: dict[str, str] = {}
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            found[str(row["clip_id"])] = str(row["caption"])
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"--against {file}: line {number} is no JSON object with `clip_id` and `caption`"
            ) from error
    return found


def _told(dataset: str, found: CaptionHealth) -> str:
    from curation_assets.outcome import text_table
    from curation_assets.showing.text import as_text

    def share(count: int, of: int) -> str:
        return f"{count / of:.1%}" if of else ""

    asked = found.status.total() - found.status["skipped"]
    rows = [
        (
            "clips that were asked about",
            asked,
            "",
            f"{found.status['skipped']:,} do not pass `captions.where`" if found.status["skipped"] else "",
        ),
        ("with a caption", found.captions, share(found.captions, asked), ""),
        ("empty", found.status["empty"], share(found.status["empty"], asked), ""),
        ("failed", found.status["failed"], share(found.status["failed"], asked), ""),
    ]
    for name, count, kind in (
        ("refusals", found.refusals, "refusal"),
        ("words of doubt", found.doubtful, "doubt"),
        ("no end of a sentence", found.unfinished, "unfinished"),
    ):
        clip, text = next(iter(found.examples.get(kind, [])), ("", ""))
        rows.append((name, count, share(count, found.captions), f"{clip}: {as_text(text)}" if clip else ""))
    rows.append(("same words as another's", found.repeated, share(found.repeated, found.captions), ""))
    lines = [text_table((f"captions of {dataset}", "clips", "share", "such as"), rows)]
    if found.texts:
        lines.append(text_table(("said most often", "clips"), [(as_text(text), n) for text, n in found.texts]))
    lengths = ", ".join(
        f"{name} {found.length(q)}"
        for name, q in (("least", 0.0), ("5 %", 0.05), ("half", 0.5), ("95 %", 0.95), ("most", 1.0))
    )
    lines.append(f"words: {lengths}")
    lines.append("languages: " + ", ".join(f"{code} {n:,}" for code, n in found.languages.most_common(10)))
    if found.match is not None:
        lines.append(f"match with the pictures: {found.match:.2f} on average of {found.matched:,}")
    return "\n\n".join(lines) + "\n"


def _told_contest(dataset: str, one: CaptionContest) -> str:
    return "\n".join(_contest_lines(dataset, one)) + "\n"


def _contest_lines(dataset: str, one: CaptionContest) -> Iterator[str]:
    yield f"captions of {dataset}: {plural(one.both, 'clip has', 'clips have', commas=True)} one in both, {one.only_a:,} only there, {one.only_b:,} only here"
    if not one.both:
        return
    yield f"the same words: {one.same:,} ({one.same / one.both:.1%}); words in common: {one.overlap:.1%} on average"
    yield f"words on average: {one.words[0]:.1f} there, {one.words[1]:.1f} here"
    if one.match is not None:
        yield (
            f"match with the pictures: {one.match[0]:.2f} there, {one.match[1]:.2f} here, over {plural(one.matched, 'clip', commas=True)}; {one.better / one.matched:.1%} match better here"
        )
