"""Numbers of what is made reach W&B and MLflow, here in their own files without a network; a service that is away costs no run anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from curation_assets.engine.making import Outcome
from curation_assets.orchestration import reporters
from curation_assets.orchestration.reporters import Reporting, numbers
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings, SettingsError
from curation_resources.extras import MissingExtra
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

STATS = {
    "wall_s": 4.0, "ok": 7, "failed": 3, "yield": 0.7, "errors": {"network": 2, "private": 1}, "rows_in": 10,
    "folder": "/x", "left_out": [], "done": True, "splits": {"train": "a"}, "bad": float("nan"),
}  # fmt: skip


@pytest.fixture
def outcomes(tmp_path: Path) -> list[Outcome]:
    """Two shards of ten and of four rows."""
    store = TableStore(Storage(str(tmp_path / "data")), SCHEMAS)
    found = []
    for shard, rows in (("d-00000", 10), ("d-00001", 4)):
        contract = schema("video_metadata")
        said = [
            {
                "dataset": "d",
                "video_id": f"{shard}{n}",
                "status": "ok",
                "source": "list.csv",
                "line": n + 1,
                "url": "https://example.org/v",
                "spans": [],
            }
            for n in range(rows)
        ]
        table = pa.Table.from_pylist([{n: r.get(n) for n in contract.names} for r in said], schema=contract.arrow)
        found.append(
            Outcome(
                "video_metadata", store.commit("video_metadata", shard, table, Provenance("1", None), STATS), None, []
            )
        )
    return found


def test_numbers_are_rates_yields_and_failures_by_class() -> None:
    said = dict(numbers("raw_shards", 10, STATS))
    assert said == {
        "raw_shards/rows": 10, "raw_shards/rows_per_s": 2.5, "raw_shards/wall_s": 4, "raw_shards/ok": 7, "raw_shards/failed": 3,
        "raw_shards/yield": 0.7, "raw_shards/errors/network": 2, "raw_shards/errors/private": 1, "raw_shards/rows_in": 10,
    }  # fmt: skip
    many = {"labels": {f"l{n}": n for n in range(5000)}}
    assert len(list(numbers("tracks", 1, many))) < 300


@pytest.mark.slow
def test_mlflow_has_the_numbers_over_time(
    outcomes: list[Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/ml.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    told = Reporting(Settings(reporters="mlflow", storage="s3://bucket/root"))
    for outcome in outcomes:
        told.committed(outcome)
    told.close()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("curation")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["storage"] == "s3://bucket/root"

    def history(name: str) -> list[tuple[int, float]]:
        return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, f"video_metadata/{name}")]

    assert history("rows") == [(1, 10), (2, 4)]
    assert history("rows_so_far") == [(1, 10), (2, 14)]
    assert history("rows_per_s") == [(1, 2.5), (2, 1)]
    assert history("errors/network") == [(1, 2), (2, 2)]
    assert history("yield") == [(1, 0.7), (2, 0.7)]


def logged(folder: Path) -> Iterator[Mapping[str, str]]:
    """What wandb wrote into its file: a LevelDB log (blocks of 32 KiB; checksum, length and kind before each piece) of its own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, at, message = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole message, or the last piece of one
            record = Record()
            record.ParseFromString(message)
            message = b""
            if record.HasField("history"):
                yield {(i.key or "/".join(i.nested_key)): i.value_json for i in record.history.item}


def test_wandb_has_the_numbers_over_time(
    outcomes: list[Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    told = Reporting(Settings(reporters="wandb"))
    for outcome in outcomes:
        told.committed(outcome)
    told.close()
    wandb.teardown()  # its own process writes; this waits for it
    rows = list(logged(tmp_path))
    assert [float(r["video_metadata/rows"]) for r in rows] == [10, 4]
    assert [float(r["video_metadata/errors/network"]) for r in rows] == [2, 2]
    assert [float(r["video_metadata/rows_so_far"]) for r in rows] == [10, 14]
    assert [float(r["tables_made"]) for r in rows] == [1, 2]


class Kept:
    """A reporter of a package."""

    def __init__(self, about: Mapping[str, str]) -> None:
        self.about, self.said, self.closed = about, list[Mapping[str, float]](), 0

    def report(self, said: Mapping[str, float], step: int) -> None:
        self.said.append(said)

    def close(self) -> None:
        self.closed += 1


class Away(Kept):
    def report(self, said: Mapping[str, float], step: int) -> None:
        super().report(said, step)
        raise ConnectionError("no route to the service")


def test_reporters_of_packages_are_told_too_and_one_that_fails_is_left_out(
    outcomes: list[Outcome], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: dict[str, Kept] = {}

    def bring(kind: str, name: str) -> Any:
        assert kind == "reporters"
        return lambda about: made.setdefault(name, (Away if name == "away" else Kept)(about))

    monkeypatch.setattr(reporters, "named", lambda kind: {"kept": SimpleNamespace(), "away": SimpleNamespace()})
    monkeypatch.setattr(reporters, "brought", bring)
    told = Reporting(Settings(reporters="away, kept"))
    for outcome in outcomes:
        told.committed(outcome)
    told.close()
    assert [len(made[n].said) for n in ("kept", "away")] == [2, 1]
    assert [made[n].closed for n in ("kept", "away")] == [1, 0]
    assert [r.getMessage() for r in caplog.records] == [
        "the reporter away is told nothing more: ConnectionError: no route to the service"
    ]


def test_what_cannot_be_had_is_one_sentence_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="no reporter is called 'wandbb'; there are wandb, mlflow"):
        Reporting(Settings(reporters="wandbb"))
    monkeypatch.setattr("curation_resources.extras.installed", lambda module: module not in ("wandb", "mlflow"))
    for name in ("wandb", "mlflow"):
        with pytest.raises(MissingExtra, match=rf"curation-assets\[{name}\]"):
            Reporting(Settings(reporters=name))
    assert Reporting(Settings())._reporters == {}
