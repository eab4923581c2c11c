"""Fixtures of the deployment tests: what deploy/ ships, and a database server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation_assets_tests.deploy.postgres import postgres

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def manifests(folder: Path = DEPLOY / "kubernetes") -> list[dict[str, Any]]:
    """All objects of the plain manifests, the template of the Secret included."""
    return [o for f in sorted(folder.glob("*.yaml")) for o in yaml.safe_load_all(f.read_text()) if o]


def named(kind: str, name: str) -> dict[str, Any]:
    """One of the plain manifests' objects."""
    return next(o for o in manifests() if (o["kind"], o["metadata"]["name"]) == (kind, name))


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, str]]:
    """A running PostgreSQL server with nothing in it, as the variables that the instance config reads; skips where there is no server program."""
    with postgres() as variables:
        yield variables
