"""Finds the real videos and labels that lie beside some checkouts; tests that need them are skipped elsewhere, with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("CURATION_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def shared(name: str) -> Path:
    """The test file or folder called `name`; skips the test where it is not there."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"needs the test data {name}, which is not beside this checkout (set CURATION_TEST_DATA)")
    return path
