"""Commands that are killed at random moments of each step of the graph, or interrupted at random points of their progress, and given again.

`CURATION_FAULT_KILLS`, `CURATION_FAULT_POSTGRES_KILLS` and `CURATION_FAULT_INTERRUPTS` say how many of each the tier of faults makes
(default 12, 4 and 4); `CURATION_FAULT_SEED` which ones.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation_assets_tests.deploy.postgres import postgres
from curation_assets_tests.faults.killing import kill_through, resumed
from curation_assets_tests.faults.shipped import DEPLOY, Shipped, kill_group
from curation_assets_tests.faults.whole_graph import (
    RUN,
    install,
    left_over,
    remaining,
    source,
    store_of,
    undisturbed,
)

KILLS = int(os.environ.get("CURATION_FAULT_KILLS", "12"))
POSTGRES_KILLS = int(os.environ.get("CURATION_FAULT_POSTGRES_KILLS", "4"))
INTERRUPTS = int(os.environ.get("CURATION_FAULT_INTERRUPTS", "4"))
SEED = int(os.environ.get("CURATION_FAULT_SEED", "0"))
STRIDE = 14
"""Most files that appear in a storage root before the next interrupt: small beside the about 80 of the whole graph, so that each pass through
the graph is interrupted several times, in every part of it."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with source(tmp_path_factory.mktemp("source")) as folder:
        yield folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


def stop_at(
    shipped: Shipped, process: subprocess.Popen[str], files: int, delay_s: float, how: signal.Signals
) -> str | None:
    """Sends a signal when `files` more files have appeared in the storage root, and a moment later: SIGKILL to the command's whole group.

    Returns:
        the file that appeared last; None if the command ended before.
    """
    root, before = Path(shipped.data), set(Path(shipped.data).rglob("*"))
    appeared: list[Path] = []
    while len(appeared) < files:
        if process.poll() is not None:
            return None
        appeared += [p for p in root.rglob("*") if p not in before and p.is_file()]
        before.update(appeared)
        time.sleep(0.005)
    time.sleep(delay_s)
    if process.poll() is not None:
        return None
    if how is signal.SIGKILL:
        kill_group(process)
        assert remaining(shipped) == []
    else:
        process.send_signal(how)
    return str(appeared[-1].relative_to(root))


@pytest.mark.faults
@pytest.mark.timeout(600 + 120 * KILLS)
def test_random_kills_in_every_step(tmp_path: Path, given: Path, place: Path) -> None:
    kill_through(tmp_path, lambda root: install(root, given, True), given, place / "whole", KILLS, SEED)


@pytest.mark.faults
@pytest.mark.timeout(600 + 150 * POSTGRES_KILLS)
def test_random_kills_with_an_instance_in_postgresql(
    tmp_path: Path, given: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)  # the test looks into the instance too
        instance = DEPLOY / "dagster.postgres.yaml"

        def installed(root: Path) -> Shipped:
            return install(root, given, True, instance, variables)

        kill_through(tmp_path, installed, given, place / "whole", POSTGRES_KILLS, SEED + 2, database=variables)


def published(shipped: Shipped) -> dict[str, str | None]:
    """Subset -> the version of clips in force."""
    store = store_of(shipped)
    heads = {p: store.header("clip_dataset", p) for p in store.partitions("clip_dataset")}
    return {p: h.stats.get("version") for p, h in heads.items() if h is not None}


def interrupt(shipped: Shipped, files: int, delay_s: float, how: signal.Signals) -> bool:
    """Interrupts a command and holds it to what is promised. False if it ended before."""
    process = shipped.start(RUN)
    point = stop_at(shipped, process, files, delay_s, how)
    if point is None:
        process.communicate()
        return False
    in_force = published(shipped)
    out, err = process.communicate(timeout=120)
    if process.returncode == 0:
        return False  # it was just ending
    assert process.returncode == 128 + how, out + err
    assert f"stopped by {how.name}" in err
    assert "The same command goes on where it stopped" in err
    assert out == ""
    after = published(shipped)
    assert {p: v for p, v in after.items() if p in in_force} == in_force
    assert len(after) <= len(in_force) + 1  # one may have been committed between our look and the signal
    assert [entry for entry in left_over(shipped) if entry.startswith(("run", "process", "temporary process"))] == []
    return True


@pytest.mark.timeout(900)
def test_a_run_that_was_interrupted_and_killed_is_resumed(tmp_path: Path, given: Path, place: Path) -> None:
    """With the shipped instance file, whose pools have one slot each: a dead run must not hold it."""
    shipped = install(tmp_path / "one", given)
    assert interrupt(shipped, 3, 0.0, signal.SIGINT)  # while videos come in
    assert published(shipped) == {}
    process = shipped.start(RUN)
    assert stop_at(shipped, process, 4, 0.1, signal.SIGKILL) is not None  # in the decode
    resumed(shipped, undisturbed(place / "small", given, False))


@pytest.mark.faults
@pytest.mark.timeout(600 + 150 * INTERRUPTS)
def test_random_interrupts_publish_nothing(tmp_path: Path, given: Path, place: Path) -> None:
    expected = undisturbed(place / "whole", given, True)
    chance, made, round_ = random.Random(SEED + 1), 0, 0
    while made < INTERRUPTS:
        shipped = install(tmp_path / f"round{round_}", given, True)
        round_ += 1
        while made < INTERRUPTS:
            how = chance.choice([signal.SIGINT, signal.SIGTERM])
            if not interrupt(shipped, chance.randint(1, STRIDE), chance.uniform(0, 0.5), how):
                break
            made += 1
        resumed(shipped, expected)
