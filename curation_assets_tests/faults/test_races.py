"""Two `curation run` at once on one shard: both end well or with one sentence, every byte is readable, the next run leaves nothing over.

`CURATION_FAULT_PAIRS` says how many pairs the tier of faults starts on each kind of storage (default 5).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from curation_assets_tests.conftest import KEYS, S3Server
from curation_assets_tests.faults.pairs import contents, damage, faults, other_machine, run, small_dataset
from curation_assets_tests.faults.shipped import Shipped
from curation_resources.storage import Storage

PAIRS = int(os.environ.get("CURATION_FAULT_PAIRS", "5"))


def _race(place: Shipped, twin: Shipped, storage: Storage, forced: bool) -> None:
    """A pair of runs, the second as soon as the first; then what must hold."""
    more = ["--force"] if forced else []
    both = [run(place, *more), run(twin, *more)]
    ended = [(*p.communicate(timeout=280), p.returncode) for p in both]
    for out, err, code in ended:
        failed = [line for line in out.splitlines() if line.startswith("FAILED")]
        assert code == 0 or (code == 1 and len(failed) == 1 and "Traceback" not in out), out + err
    assert damage(place, storage) == []
    again = place.curation("run", str(place.root / "recipes/pair.yaml"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert faults(place, storage) == []


def _pairs(place: Shipped, storage: Storage, pairs: int) -> None:
    before: Any = None
    twin = other_machine(place)
    for number in range(pairs):
        _race(place, twin, storage, forced=number > 0)
        now = contents(storage)
        assert before is None or now == before
        before = now


def test_two_runs_at_once_lose_nothing(tmp_path: Path) -> None:
    place = small_dataset(tmp_path)
    _pairs(place, Storage(place.data), 1)


@pytest.mark.faults
@pytest.mark.timeout(300 + 300 * PAIRS)
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_pairs_of_runs_lose_nothing(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "local":
        place = small_dataset(tmp_path)
        storage = Storage(place.data)
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        environment = {**KEYS, "CURATION_S3_ENDPOINT": server.endpoint}
        place = small_dataset(tmp_path, storage=f"{server.bucket()}/store", environment=environment)
        storage = Storage(place.data, server.options)
    _pairs(place, storage, PAIRS)
