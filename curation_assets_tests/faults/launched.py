"""Runs that sensors request, each executed in a process of its own, as the launcher of the shipped instance does, at a time of one's choosing.

The processes are forked from a server that has the libraries loaded, so that a run costs its work and not the import of everything.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curation_assets.recipes import read_recipes
from curation_assets_tests.faults.shipped import INSTANCE_FILE
from curation_assets_tests.installation import Installation

_real_time = time.time


def installed(root: Path, recipes: Path) -> Installation:
    """The installation in a folder, with the shipped instance settings and the recipes as they are now."""
    site = Installation(root, instance_settings=yaml.safe_load(INSTANCE_FILE.read_text()))
    site.recipes = dict(read_recipes(str(recipes)).usable)
    return site


@dataclass(frozen=True)
class Launch:
    """A run: where the installation and its recipes lie, what was requested, and how far ahead the clock is, in seconds."""

    root: Path
    recipes: Path
    job: str
    tags: Mapping[str, str]
    assets: Sequence[Any] | None
    partition: str | None
    ahead: float


def execute(launch: Launch) -> tuple[bool, list[str]]:
    """Executes a run to its end, in the process that it is called in; whether it succeeded, and why steps failed."""
    time.time = lambda: _real_time() + launch.ahead
    site = installed(launch.root, launch.recipes)
    done = site.run(launch.job, tags=dict(launch.tags), asset_selection=launch.assets, partition_key=launch.partition)
    reasons = list(site.reasons)
    site.instance.dispose()
    return done, reasons


def processes() -> ProcessPoolExecutor:
    """Executes each run in a new process, one at a time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["curation_assets.definitions", "curation_assets_tests.faults.launched", "torch"])
    return ProcessPoolExecutor(max_workers=1, mp_context=context, max_tasks_per_child=1)
