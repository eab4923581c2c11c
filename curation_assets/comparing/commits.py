"""The tables of two commits of a git repository, each made in a storage root of its own: of its recipes, of its code, or of both.

The repository is cloned beside, and one clone holds first the one commit and then the other, so that whatever a path says is the same of both; the repository itself, and what is changed in it and
not committed, are left alone. If it is that of this package, the code of each commit makes its tables; else the code that is installed does, and the second root begins as
a copy of the first, so that only what the commits make otherwise is made twice. What belongs here: making the two roots. What does not: comparing them (`roots.py`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curation_assets.recipe_yaml import read_yaml
from curation_assets.registry import EXPORTS

PACKAGE = ("curation_assets", "resources")
"""Folders of this project's repository whose code makes tables."""
GLOB = "*?["
KEPT_WORDS = 15
"""Lines of a run that failed that are shown."""
COPIED_BYTES = 1 << 20
"""Files of a root that are smaller are copied, others linked: no table and no tar is ever written in place."""


class CommitError(ValueError):
    """Commits of which no tables can be made; the message says why and what to do."""


@dataclass(frozen=True)
class Commit:
    """A commit: its full hash, and the first line of what it says."""

    sha: str
    subject: str

    def __str__(self) -> str:
        return f"{self.sha[:10]} {self.subject}"


@dataclass(frozen=True)
class ToMake:
    """What is to be made of each commit.

    Attributes:
        recipes: recipe files or folders, as they lie here; those of the repository are taken as the commit has them.
        videos: a folder whose videos are worked on instead of the recipes' sources.
        exports: whether what subsets export is made too.
    """

    recipes: Sequence[str]
    videos: str | None
    exports: bool


class Commits:
    """Two commits of the repository of the working directory.

    Args:
        names: how git calls them: hashes, branches, tags, `HEAD~3`.
        work: an empty folder, or one that was used for this repository before: roots that are there are brought up to date.
        say: is told what is done.

    Raises:
        CommitError: there is no repository, or it has no such commit.
    """

    def __init__(self, names: Sequence[str], work: Path, say: Callable[[str], None]) -> None:
        self._here, self._work, self._say = Path.cwd(), work, say
        self._top = Path(_git(self._here, "rev-parse", "--show-toplevel"))
        self.commits = [self._commit(name) for name in names]
        self._clone = work / "checkout"
        inside = self._here.relative_to(self._top)
        self._folder = self._clone / inside

    def _commit(self, name: str) -> Commit:
        try:
            sha = _git(self._top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except CommitError as error:
            raise CommitError(f"{name}: {self._top} has no such commit; name one as git does") from error
        return Commit(sha, _git(self._top, "log", "-1", "--format=%s", sha))

    def roots(self, asked: ToMake, environment: Mapping[str, str]) -> Iterator[Path]:
        """Makes the tables of each commit and gives its storage root.

        Args:
            asked: what of each.
            environment: of the runs: settings, without where storage and recipes are.

        Raises:
            CommitError: a commit has no such recipe, or its run ends before it has begun its tables.
        """
        if not (self._clone / ".git").is_dir():
            _git(self._top, "clone", "--quiet", "--shared", "--no-checkout", str(self._top), str(self._clone))
        codes = [self._code(commit) for commit in self.commits]
        before: Path | None = None
        for commit, code in zip(self.commits, codes, strict=True):
            side = self._work / commit.sha[:12]
            if before is not None and codes[0] == codes[1] and not side.exists():
                shutil.copytree(before, side, copy_function=_linked, symlinks=True)
            side.mkdir(exist_ok=True)
            _git(self._clone, "checkout", "--quiet", "--force", "--detach", commit.sha)
            self._run(commit, side, asked, bool(code), environment)
            before = side
            yield side / "data"

    def _code(self, commit: Commit) -> tuple[str, ...]:
        """The trees of this package's code in a commit; of another repository none."""
        try:
            return tuple(_git(self._clone, "rev-parse", "--verify", "--quiet", f"{commit.sha}:{p}") for p in PACKAGE)
        except CommitError:
            return ()

    def _run(self, commit: Commit, side: Path, asked: ToMake, own_code: bool, environment: Mapping[str, str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)  # the commit may not have it
        linked: list[Path] = []
        try:
            files = [file for given in asked.recipes for file in self._recipe_files(given, commit, own_code)]
            recipes = [self._recipe(file, asked, linked) for file in files]
            code = {"PYTHONPATH": str(self._clone)} if own_code else {}
            log = side / "run.log"
            whose = "its own code" if own_code else "the code that is installed"
            self._say(f"{commit}: {', '.join(f.name for f in files)} by {whose}; what the run says is in {log}")
            with open(log, "wb") as said:
                done = subprocess.run(
                    [sys.executable, "-P", "-m", "curation_assets.cli", "run", *map(str, recipes)],
                    cwd=self._folder,
                    env={
                        **environment,
                        **code,
                        "CURATION_STORAGE": str(side / "data"),
                        "DAGSTER_HOME": str(side / "dagster"),
                    },
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                )
            words = log.read_text("utf-8", "replace").splitlines()[-KEPT_WORDS:]
            if done.returncode not in (0, 1) or not (side / "data").is_dir():
                raise CommitError("\n".join([f"{commit}: its run ended with {done.returncode}:", *words]))
            if done.returncode:
                self._say("\n".join([f"{commit}: not all could be made:", *words]))
        finally:
            for link in linked:
                link.unlink(missing_ok=True)

    def _recipe_files(self, given: str, commit: Commit, own_code: bool) -> list[Path]:
        path = (self._here / given).resolve()
        top = self._top.resolve()
        if not path.is_relative_to(top):
            if not own_code:
                raise CommitError(
                    f"{given} is not in {self._top}, nor is the code of this package: two commits of it say the same of it; "
                    "name a recipe of the repository, or go into the one that has it"
                )
            there = path
        else:
            there = self._clone / path.relative_to(top)
        files = sorted(f for f in there.iterdir() if f.suffix in (".yaml", ".yml")) if there.is_dir() else [there]
        if not files or not there.exists():
            raise CommitError(f"{commit}: it has no recipe {given}; name one that both commits have, with --recipe")
        return files

    def _recipe(self, file: Path, asked: ToMake, linked: list[Path]) -> Path:
        """The recipe to run: with other videos, or without exports, if that is asked; files that it names and that are not under version control are those that lie here."""
        try:
            recipe: Any = read_yaml(file.read_text("utf-8"))
        except ValueError:
            return file  # the run says what is wrong with it
        if not isinstance(recipe, dict):
            return file
        if asked.videos is not None:
            recipe["source"] = {"format": "folder", "path": str((self._here / asked.videos).resolve())}
        if not asked.exports and isinstance(recipe.get("subsets"), dict):
            for subset in recipe["subsets"].values():
                if isinstance(subset, dict):
                    subset.pop("export", None)
        for text in _texts(recipe):
            self._link(text, linked)
        copies = self._work / "recipes"
        copies.mkdir(exist_ok=True)
        made = copies / file.name
        made.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), "utf-8")
        return made

    def _link(self, text: str, linked: list[Path]) -> None:
        """Makes a relative path of here that the commit has not one of the checkout too."""
        plain = text[: min((text.index(c) for c in GLOB if c in text), default=len(text))]
        name = plain if plain == text else plain.rpartition("/")[0]
        if not name or "://" in name or "\n" in name or len(name) > 1000 or os.path.isabs(name) or name.startswith("~"):
            return
        here, there = self._here / name, self._folder / name
        if here.exists() and not there.exists() and not there.is_symlink():
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(here.resolve())
            linked.append(there)


def environment_of_runs() -> dict[str, str]:
    """What runs of commits are told: this process's variables, but for where storage, recipes and runs are."""
    own = {"CURATION_STORAGE", "CURATION_RECIPES", "CURATION_SAMPLE", "DAGSTER_HOME", "PYTHONPATH"}
    return {name: value for name, value in os.environ.items() if name not in own}


def wants_exports(tables: Sequence[str]) -> bool:
    """Whether tables of exports are among those that are compared."""
    return any(table in EXPORTS for table in tables)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _linked(source: str, target: str) -> None:
    if os.path.getsize(source) < COPIED_BYTES:
        shutil.copy2(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CommitError("git is not installed here, by which commits are read") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise CommitError(said[-1].removeprefix("fatal: ") if said else f"git {words[0]} ended with {done.returncode}")
    return done.stdout.strip()
