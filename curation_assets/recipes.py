"""Recipes: one YAML file declares a dataset, the parameters of each stage, and the subsets to publish.

Each table brings the sections of recipes that are its own (`registry.py`), with defaults, units and ranges; `docs/reference/recipes.md` is
generated from them. What belongs here: the recipe as a whole, and its loading. A stage is handed its own section and nothing else, so that
its fingerprint changes exactly when its section does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, get_args

import fsspec
from pydantic import Field, PrivateAttr, ValidationError, create_model, model_validator

from curation_assets.contracts.sections import NAME, Section
from curation_assets.publish.subsets import Subset, balanced_by_concept
from curation_assets.recipe_yaml import YamlError, read_yaml
from curation_assets.registry import BROKEN, COMPONENTS
from curation_assets.rules.faults import circle, rule_faults
from curation_resources.s3 import options_of_named_file
from curation_resources.urls import redact_text


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the file, the key and what is allowed."""


class _Whole(Section):
    """One dataset: its source, the parameters of every stage, and its subsets."""

    dataset: str = Field(pattern=NAME, description="Name of the dataset: a-z, 0-9 and _.")
    description: str = Field("", description="For people; goes into the cards of what is published.")
    _declared_in: str = PrivateAttr("")

    @model_validator(mode="before")
    @classmethod
    def _classes(cls, said: Any) -> Any:
        if not isinstance(said, Mapping) or "concepts" not in said or not isinstance(said.get("subsets"), Mapping):
            return said
        return {**said, "subsets": {name: balanced_by_concept(s) for name, s in said["subsets"].items()}}

    if TYPE_CHECKING:
        subsets: dict[str, Subset]

        def __getattr__(self, section: str) -> Any:
            """The section of a component."""

    @property
    def declared_in(self) -> str:
        """URI of the file that it was read from; empty if it was not read from one."""
        return self._declared_in


_SECTIONS: dict[str, Any] = {k.name: k.field() for c in COMPONENTS for k in c.keys}
_SUBSETS: Any = (dict[Annotated[str, Field(pattern=NAME)], Subset], Field(default={}))

if TYPE_CHECKING:
    Recipe = _Whole
else:
    Recipe = create_model("Recipe", __base__=_Whole, __doc__=_Whole.__doc__, **_SECTIONS, subsets=_SUBSETS)


def _where(location: Iterable[Any]) -> str:
    """A pydantic error location as a dotted key: ('source', 'path', 0) -> source.path[0]."""
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    return key or "(top level)"


def _sections(annotation: Any) -> list[type[Section]]:
    """The sections that a field's annotation mentions, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections(argument)]


def _unknown(location: tuple[Any, ...]) -> str:
    """What is said of an unknown key: the one that was meant, as far as that can be guessed, and those that its section has."""
    section: type[Section] = Recipe
    for part in location[:-1]:
        field = next((f for n, f in section.model_fields.items() if part in (n, f.alias)), None)
        if field is not None:  # otherwise `part` is a key of a mapping or an index, within the same annotation
            section = (_sections(field.annotation) or [section])[0]
    keys = list(section.keys())
    near = get_close_matches(str(location[-1]), keys, 1)
    package = "; or a package that brings it is not installed here" if section is Recipe else ""
    return f"unknown key; {f'did you mean {near[0]}? ' if near else ''}allowed are {', '.join(keys)}{package}"


def _no_name(given: str) -> str:
    """What is said of a text that cannot be the name of a dataset or subset, with one that can."""
    near = re.sub(r"[^a-z0-9]+", "_", given.casefold()).strip("_")
    can = f"; {near} can" if near else ""
    return f"{redact_text(given)!r} cannot be a name: those have a-z, 0-9 and _ alone, and begin with a letter or digit{can}"


def parse_recipe(text: str, name: str) -> Recipe:
    """Reads a recipe.

    Args:
        text: YAML.
        name: the file's name, for error messages.

    Raises:
        RecipeError: a sentence per problem, each naming file, key and what is allowed.
    """
    try:
        data = read_yaml(text)
    except YamlError as error:
        at = f" line {error.line}" if error.line else ""
        raise RecipeError(f"{name}{at}: {error}") from error
    if not isinstance(data, dict):
        found = "and this file is empty" if data is None else f"not a {type(data).__name__}"
        raise RecipeError(f"{name}: a recipe is a mapping that begins with `dataset:`, {found}")
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        problems = []
        for e in error.errors():
            key = _where(e["loc"])
            if e["type"] == "extra_forbidden":
                left_out = f" ({'; '.join(map(str, BROKEN))})" if BROKEN and len(e["loc"]) == 1 else ""
                problems.append(f"{name}: {key}: {_unknown(e['loc'])}{left_out}")
            elif e["type"] == "missing":
                problems.append(f"{name}: {key}: required key is missing")
            elif e["type"] == "string_pattern_mismatch" and e["ctx"]["pattern"] == NAME:
                problems.append(f"{name}: {key.removesuffix('.[key]')}: {_no_name(e['input'])}")
            else:
                shown = redact_text(repr(e["input"]))
                got = f" (got {shown if len(shown) <= 80 else shown[:77] + '...'})"
                got = (
                    "" if isinstance(e["input"], dict) else got
                )  # what is wrong with a whole section says which key it is
                said = e["msg"].removeprefix("Value error, ").split("\n")
                problems += [f"{name}: {key}: {text}{got}" for text in said]
        problems += [f"{name}: {key}: {text}" for key, text in _rule_faults_of_the_rest(data, error)]
        raise RecipeError("\n".join(problems)) from error
    faults = [f"{name}: {key}: {text}" for key, text in rule_faults(recipe)]
    if not faults and (text_of_circle := circle([recipe])):
        faults.append(f"{name}: {text_of_circle}")
    if faults:
        raise RecipeError("\n".join(faults))
    return recipe


def _rule_faults_of_the_rest(data: Mapping[str, Any], error: ValidationError) -> Iterator[tuple[str, str]]:
    """What is wrong with rules of a recipe that cannot be used for other reasons: as far as those leave no doubt of what the rules may name."""
    places = {tuple(e["loc"]) for e in error.errors()}
    if any(place[:1] in {(), *((s,) for s in _NAMING)} for place in places):
        return
    declared = data.get("subsets")
    rest = {**data, "subsets": dict(declared) if isinstance(declared, Mapping) else {}}
    for place in places:
        if place[0] != "subsets":
            rest.pop(str(place[0]), None)
        elif len(place) > 2 and isinstance(own := rest["subsets"].get(place[1]), Mapping):
            rest["subsets"][place[1]] = {key: value for key, value in own.items() if key != place[2]}
        elif len(place) == 2:
            rest["subsets"].pop(place[1], None)
    try:
        yield from rule_faults(Recipe.model_validate(rest))
    except (ValidationError, YamlError):
        return


_NAMING = ("dataset", "source", "categories", "labels", "concepts", "tracks")
"""Sections that decide which columns there are, and what they hold."""


@dataclass(frozen=True)
class RecipeFault:
    """Why a file, or a subset of it, is left out: a sentence per problem. `dataset` as far as the file says it."""

    file: str
    message: str
    dataset: str | None = None


@dataclass(frozen=True)
class Recipes:
    """The recipes of an installation by dataset name, and what is left out of it because it cannot be used."""

    usable: dict[str, Recipe]
    faults: tuple[RecipeFault, ...] = ()


def load_recipes(uri: str, options: Mapping[str, Any] | None = None) -> dict[str, Recipe]:
    """Recipes of a file, a folder (its `*.yaml` and `*.yml`, not recursive) or a URI of either, by dataset name.

    Raises:
        RecipeError: nothing there, a recipe that cannot be used, or two recipes for one dataset.
    """
    fs, _, files = _files(uri, options)
    found = _usable(fs, files)
    if found.faults:
        raise RecipeError("\n".join(f.message for f in found.faults))
    return found.usable


def read_recipes(uri: str, options: Mapping[str, Any] | None = None) -> Recipes:
    """As `load_recipes`, but of a folder the files that cannot be used are left out and named, so that the others go on.

    A subset that draws on the dataset of a file that was left out is left out too.

    Raises:
        RecipeError: nothing there, or the one file that was named cannot be used.
    """
    fs, path, files = _files(uri, options)
    if files == [path]:
        return Recipes(load_recipes(uri, options))
    found = _usable(fs, files)
    usable, faults = dict(found.usable), list(found.faults)
    lost = {f.dataset for f in faults} - {None, *usable}
    for name, recipe in found.usable.items():
        kept = {n: s for n, s in recipe.subsets.items() if not lost & set(s.datasets)}
        for subset in recipe.subsets.keys() - kept.keys():
            dataset = next(d for d in recipe.subsets[subset].datasets if d in lost)
            text = f"subset {subset_key(name, subset)} is left out: it draws on {dataset}, whose recipe cannot be used"
            faults.append(RecipeFault("", text, name))
        usable[name] = recipe.model_copy(update={"subsets": kept})
    return Recipes(usable, tuple(faults))


def named_recipes(uri: str, options: Mapping[str, Any] | None = None) -> Recipes:
    """As `read_recipes`, of what somebody has named.

    Raises:
        RecipeError: as there, or a folder without a recipe: that of the videos, say.
    """
    found = read_recipes(uri, options)
    if not found.usable and not found.faults:
        raise RecipeError(
            f"{uri}: no recipe lies in that folder, a file whose name ends in .yaml or .yml; name one that has some"
        )
    return found


def _files(uri: str, options: Mapping[str, Any] | None) -> tuple[fsspec.AbstractFileSystem, str, list[str]]:
    fs, path = fsspec.core.url_to_fs(uri, **(options or options_of_named_file(uri)))
    if not fs.exists(path):
        raise RecipeError(
            f"{uri}: no such file or folder; name a recipe file or a folder of recipes, here or in CURATION_RECIPES; `curation init` writes one"
        )
    if not fs.isdir(path):
        return fs, path, [path]
    return fs, path, sorted(f for f in fs.ls(path, detail=False) if re.search(r"\.ya?ml$", f))


def _usable(fs: fsspec.AbstractFileSystem, files: Iterable[str]) -> Recipes:
    """The recipes of files that can be used, each by itself and beside those before it."""
    usable: dict[str, Recipe] = {}
    origin: dict[str, str] = {}
    faults: list[RecipeFault] = []
    for file in files:
        text = ""
        try:
            text = fs.cat_file(file).decode("utf-8")
            recipe = parse_recipe(text, file)
            recipe._declared_in = fs.unstrip_protocol(file)
            _fits_beside(recipe, file, usable, origin)
        except (RecipeError, OSError, UnicodeDecodeError) as error:
            said = str(error) if isinstance(error, RecipeError) else f"{file}: cannot be read ({error})"
            if isinstance(error, UnicodeDecodeError):
                said = f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
            named = re.search(r"^dataset:[ \t]*([a-z0-9][a-z0-9_]{0,200})[ \t]*$", text, re.MULTILINE)
            faults.append(RecipeFault(file, said, named[1] if named else None))
            continue
        usable[recipe.dataset], origin[recipe.dataset] = recipe, file
    for name, recipe in list(usable.items()):
        wrong = [f"{origin[name]}: {key}: {text}" for key, text in rule_faults(recipe, usable)]
        if wrong:
            del usable[name]
            faults.append(RecipeFault(origin[name], "\n".join(wrong), name))
    return Recipes(usable, tuple(faults))


def _fits_beside(recipe: Recipe, file: str, others: Mapping[str, Recipe], origin: Mapping[str, str]) -> None:
    if recipe.dataset in others:
        raise RecipeError(f"{file}: dataset {recipe.dataset!r} is already declared by {origin[recipe.dataset]}")
    if text := circle([*others.values(), recipe]):
        raise RecipeError(f"{file}: beside the other recipes, {text}")


def subset_key(dataset: str, subset: str) -> str:
    """Partition key of a subset: `<recipe>-<subset>`."""
    return f"{dataset}-{subset}"


def subsets(recipes: Mapping[str, Recipe]) -> dict[str, tuple[Recipe, Subset]]:
    """Partition key -> (recipe, subset) over all recipes."""
    return {subset_key(r.dataset, name): (r, s) for r in recipes.values() for name, s in r.subsets.items()}
