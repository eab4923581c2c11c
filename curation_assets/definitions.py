"""The code location at the address that workspaces and instance files name; `orchestration/definitions.py` assembles it."""

from __future__ import annotations

from curation_assets.orchestration.definitions import build_definitions, settings_of_run
from curation_assets.settings import Settings
from curation_assets.stores import storage_options, table_store

__all__ = ["build_definitions", "defs", "settings_of_run", "storage_options", "table_store"]

defs = build_definitions(Settings.load())
