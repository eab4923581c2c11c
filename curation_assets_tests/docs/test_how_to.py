"""The how-to pages that can be followed on one machine, to the letter. Slow: each page runs the graph a few times."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets_tests.conftest import KEYS, S3Server
from curation_assets_tests.docs.site import ROOT
from curation_assets_tests.docs.walkthrough import Reader, steps

PAGES = ROOT / "docs/how-to"
MACHINES = 4
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "first").mkdir()
    return Reader(tmp_path / "first")


def test_own_source(reader: Reader) -> None:
    reader.follow(PAGES / "add_a_source.md")


def test_going_on(reader: Reader) -> None:
    reader.follow(PAGES / "resume.md")


def test_a_bucket(reader: Reader, s3_server: S3Server) -> None:
    s3_server.client().create_bucket(Bucket="bucket")
    reader.variables |= KEYS | {"CURATION_S3_ENDPOINT": s3_server.endpoint}
    reader.follow(PAGES / "s3.md")
    assert not (reader.folder / "data").exists()


def test_four_machines(reader: Reader) -> None:
    """Four readers in one folder, each with a Dagster home of its own; what all of them do they do one after the other."""
    machines = [Reader(reader.folder) for _ in range(MACHINES)]
    for number, machine in enumerate(machines):
        machine.variables |= {
            "CLONE": str(ROOT),
            "CURATION_STORAGE": "data",
            "DAGSTER_HOME": str(reader.folder.parent / f"home{number}"),
            "SLURM_ARRAY_TASK_ID": str(number),
        }
    for step in steps(PAGES / "four_machines.md"):
        for machine in machines[:1] if "one machine" in step.note else machines:
            machine.take(step)
