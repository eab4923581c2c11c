"""Errors of what surrounds a run, which commands say in one sentence. They are here so that a command knows them without importing Dagster."""

from __future__ import annotations


class DatabaseUnusable(RuntimeError):
    """Dagster's database cannot be reached, read or written; the message says why."""
