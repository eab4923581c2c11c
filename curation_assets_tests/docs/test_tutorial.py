"""The tutorial, followed to the letter from an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets_tests.docs.site import ROOT
from curation_assets_tests.docs.walkthrough import Reader, differs, steps

PAGE = ROOT / "docs/tutorial/first_set.md"


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "first").mkdir()
    return Reader(tmp_path / "first")


@pytest.mark.timeout(900)
def test_a_newcomer_gets_what_the_page_shows(reader: Reader) -> None:
    reader.follow(PAGE)
    assert (reader.folder / "data/clip_dataset/first-moving.parquet").exists()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_what_is_switched_on_finds_a_new_video(reader: Reader) -> None:
    reader.follow(PAGE, slow=True)


def test_the_page_shows_what_commands_print() -> None:
    """Most commands of the page show something, so that there is something to compare."""
    commands = [s for s in steps(PAGE) if s.file is None]
    assert len([s for s in commands if s.shown]) >= 8


def test_another_count_is_noticed() -> None:
    shown = "made  3 of 8 clips\n...\n1.5 s\n"
    assert differs(shown, "made 3 of 8 clips\nmore\n22.75 s\n", "/tmp/x") is None
    assert differs(shown, "made 4 of 8 clips\nmore\n22.75 s\n", "/tmp/x") == "made 3 of 8 clips"
    assert differs(shown, "made 3 of 8 clips\n1.5 s\nend\n", "/tmp/x") == "(nothing, but there is) end"
    assert differs(shown, "made 3 of 8 clips\n", "/tmp/x") == "# s"
