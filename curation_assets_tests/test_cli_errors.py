"""What `curation` says of input and surroundings that it cannot use: one sentence, no traceback, and what can go on goes on."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from curation_assets.cli import PIPE_CLOSED, main
from curation_assets.definitions import build_definitions
from curation_assets.engine.standing import Standing
from curation_assets.ingest.sources.files import find_files
from curation_assets.ingest.sources.rows import SourceError
from curation_assets.settings import Settings
from curation_assets_tests.conftest import S3Server
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError

GOOD = "dataset: good\nsource: {format: ids, path: ids.txt}\nsubsets: {all: {where: [keep]}}\n"
BAD = "dataset: bad\nsource: {format: ids, path: ids.txt}\nsubsets: {all: {where: ['motin > 0.1']}}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with a recipe that can be used and one that cannot, and nothing indexed."""
    for name in ("home", "recipes"):
        (tmp_path / name).mkdir()
    (tmp_path / "home/dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (tmp_path / "ids.txt").write_text("dQw4w9WgXcQ\n")
    (tmp_path / "recipes/good.yaml").write_text(GOOD)
    (tmp_path / "recipes/bad.yaml").write_text(BAD)
    monkeypatch.chdir(tmp_path)
    for name, value in (("CURATION_STORAGE", "data"), ("CURATION_RECIPES", "recipes"), ("DAGSTER_HOME", "home")):
        monkeypatch.setenv(name, str(tmp_path / value))
    return tmp_path


@pytest.mark.parametrize("command", [["report"], ["stale"], ["report", "good"]])
def test_a_bad_recipe_is_named_and_the_others_are_reported(
    command: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    said = capsys.readouterr()
    assert "bad.yaml: subsets.all.where[0]: rule 'motin > 0.1': no table has the column" in said.err
    assert "did you mean motion?" in said.err
    assert len(said.err.splitlines()) == 1
    assert "good" in said.out or command == ["stale"]


@pytest.mark.parametrize("command", ["report", "stale"])
def test_a_recipe_that_is_left_out_is_an_exit_code_where_codes_are_asked_for(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Standing, "counts", lambda *_: Counter())  # as if all of the others were up to date
    assert main([command, "--exit-code"]) == 1
    (place / "recipes/bad.yaml").unlink()
    assert main([command, "--exit-code"]) == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["run", "--forse", "x.yaml"], "curation run: error: there is no option --forse; did you mean --force?"),
        (["run", "--slect=clips", "x.yaml"], "there is no option --slect; did you mean --select?"),
        (["stale", "--nothing-like-it"], "curation stale: error: there is no option --nothing-like-it\n"),
        (["report", "a", "b"], "curation report: error: more was given than it takes: b"),
        (["runn"], "; did you mean run?"),
    ],
)
def test_what_was_misspelt_is_said_with_what_was_meant(
    command: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_settings_gets_those_that_are_shipped(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dagster's own defaults have no limits for pools, and report to its makers."""
    monkeypatch.setenv("DAGSTER_HOME", str(place / "new"))
    (place / "recipes/bad.yaml").unlink()
    assert main(["doctor"]) == 0
    assert "wrote new/dagster.yaml" in capsys.readouterr().err
    shipped = Path(__file__).parents[1] / "deploy/dagster.local.yaml"
    assert (place / "new/dagster.yaml").read_text() == shipped.read_text()


def test_the_doctor_looks_at_what_there_is_where_no_recipe_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CURATION_RECIPES", str(place / "nowhere"))
    monkeypatch.setenv("CURATION_STORAGE", str(place / "ids.txt/data"))
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "nowhere: no such file or folder" in said
    assert "ids.txt/data cannot be written and read" in said


def test_a_bad_recipe_is_named_in_the_ui_and_in_the_ticks_of_sensors(place: Path) -> None:
    from dagster import AssetKey, DagsterInstance, SkipReason, build_sensor_context

    definitions = build_definitions(Settings(storage=str(place / "data"), recipes=str(place / "recipes")))
    spec = next(s for s in definitions.resolve_all_asset_specs() if s.key == AssetKey("dataset_index"))
    assert "**Recipe left out:**" in (spec.description or "")
    assert "motin" in (spec.description or "")
    with DagsterInstance.ephemeral() as instance:
        sensor = definitions.get_repository_def().get_sensor_def("source_sensor")
        reason = sensor(build_sensor_context(instance=instance, sensor_name="source_sensor")).skip_reason
        assert isinstance(reason, SkipReason)
        assert "did you mean motion" in str(reason.skip_message)


def test_a_stage_of_what_was_never_indexed_is_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "recipes/good.yaml", "--select", "clips"]) == 2
    said = capsys.readouterr()
    assert "good has no shards yet" in said.err
    assert said.out == ""


def test_a_root_that_cannot_be_used_is_one_sentence(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "file").write_text("")
    monkeypatch.setenv("CURATION_STORAGE", str(place / "file/data"))
    assert main(["run", "recipes/good.yaml"]) == 2
    assert "is a file, not a folder; correct CURATION_STORAGE" in capsys.readouterr().err
    monkeypatch.setenv("CURATION_STORAGE", "/proc/data")  # not to be made, by root neither
    assert main(["run", "recipes/good.yaml"]) == 2
    assert "the storage root /proc/data cannot be made (" in capsys.readouterr().err
    monkeypatch.setenv("DAGSTER_HOME", str(place / "file/home"))
    assert main(["run", "recipes/good.yaml"]) == 2
    assert "DAGSTER_HOME: " in capsys.readouterr().err


@pytest.mark.parametrize("command", [["report"], ["stale"], ["explain", "x"], ["verify"], ["run", "recipes/good.yaml"]])
def test_a_root_that_cannot_be_reached_is_one_sentence_of_every_command(
    command: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "recipes/bad.yaml").unlink()
    for root, said in (
        ("nosuch://a/b", "nosuch://a/b cannot be reached: Protocol not known: nosuch"),
        (str(place / "ids.txt/data"), "ids.txt is a file, not a folder; correct CURATION_STORAGE"),
    ):
        monkeypatch.setenv("CURATION_STORAGE", root)
        assert main(command) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "x.yaml: a recipe is a mapping that begins with `dataset:`, and this file is empty"),
        ("dataset: mär\n".encode("latin-1"), "x.yaml: is not UTF-8 text (byte 10); save it as UTF-8"),
        (b"dataset: x\ndataset: y\n", "x.yaml line 2: the key 'dataset' is given twice"),
        (b"dataset: x\nsource: " + b"[" * 3000 + b"]" * 3000, "x.yaml line 2: more than 40 levels of nesting"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_sentence(
    text: bytes, said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "x.yaml").write_bytes(text)
    assert main(["run", "x.yaml"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [["plan"], ["report"], ["list", "dropped"]])
def test_where_every_recipe_is_left_out_nothing_is_said_to_be_well(
    command: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "recipes/good.yaml").unlink()
    main(command)
    said = capsys.readouterr()
    assert "left out: " in said.err
    assert said.out == ""


def test_a_folder_of_videos_is_none_of_recipes_and_its_name_may_be_that_of_the_dataset(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "good").mkdir()
    (place / "good/video.mp4").write_text("")
    assert main(["report", "good"]) == 0
    assert capsys.readouterr().out.startswith("dataset good\n")
    assert main(["verify", "good"]) == 0
    capsys.readouterr()
    for command in (["run"], ["validate"], ["stale"], ["plan"], ["list", "failed"]):
        assert main([*command, "good"]) == 2, command
        said = capsys.readouterr()
        assert "good: no recipe lies in that folder" in said.err
        assert (said.err.count("\n"), said.out) == (1, ""), command


def test_a_dataset_that_is_not_there_is_not_found_whole(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "recipes/bad.yaml").unlink()
    assert main(["verify", "goood"]) == 2
    said = capsys.readouterr()
    assert said.err == "curation: neither a recipe nor a table is of the dataset 'goood'; there are good\n"
    assert said.out == ""


def test_a_variable_of_a_source_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setenv("SET", str(tmp_path))
    asked = "set the environment variable NOT_SET, which `source.path` of the recipe names, or correct the path"
    for path in ("$NOT_SET/list.csv", "${NOT_SET}/*.csv", "$SET/${NOT_SET}"):
        with pytest.raises(SourceError, match=re.escape(asked)):
            find_files([path], [".csv"])
    for path in ("$SET/list.csv", "${NOT_SET:-here}/*.csv"):
        with pytest.raises(SourceError, match=r"correct `source.path` of the recipe$"):
            find_files([path], [".csv"])


def test_a_port_that_cannot_be_had_is_one_sentence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "recipes/bad.yaml").unlink()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["metrics", "--serve", port]) == 2
        assert capsys.readouterr().err == f"curation: --serve {port}: Address already in use; name another port\n"
        assert main(["ui", "--port", port]) == 2
    assert capsys.readouterr().err == f"curation: --port {port}: Address already in use; name another port\n"
    assert main(["metrics", "--serve", "here"]) == 2
    assert "that is no [ADDRESS:]PORT" in capsys.readouterr().err


def test_a_bucket_that_does_not_exist_is_not_created(s3_server: S3Server) -> None:
    storage = Storage("s3://nowhere-to-be-found/store", {**s3_server.options, "skip_instance_cache": True})
    with pytest.raises(StorageError, match="there is no bucket 'nowhere-to-be-found'"):
        storage.check()
    with pytest.raises(OSError, match=r"bucket does not exist|NoSuchBucket"):
        storage.write("a/b.txt", b"x")
    assert "nowhere-to-be-found" not in {b["Name"] for b in s3_server.client().list_buckets()["Buckets"]}
    there = Storage(f"{s3_server.bucket()}/store", s3_server.options)
    there.check()
    there.write("a/b.txt", b"x")
    assert there.read("a/b.txt") == b"x"


@pytest.mark.usefixtures("no_aws_keys")
def test_missing_credentials_are_one_sentence(s3_server: S3Server) -> None:
    options = {"client_kwargs": {"endpoint_url": s3_server.endpoint}, "skip_instance_cache": True}
    with pytest.raises(StorageError, match="cannot be reached: Unable to locate credentials; set AWS_ACCESS_KEY_ID"):
        Storage("s3://bucket/store", options).check()


def test_a_store_that_does_not_answer_is_no_matter_of_credentials() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        once = {
            "config_kwargs": {"retries": {"max_attempts": 0}},
            "key": "a",
            "secret": "b",
            "skip_instance_cache": True,
        }
        where = {"client_kwargs": {"endpoint_url": f"http://127.0.0.1:{nobody.getsockname()[1]}"}}
        with pytest.raises(
            StorageError, match=r"cannot be reached: Could not connect .*; correct CURATION_S3_ENDPOINT"
        ):
            Storage("s3://bucket/store", {**once, **where}).check()


def test_output_that_nobody_reads_to_its_end_is_no_error(place: Path) -> None:
    command = f"{sys.executable} -m curation_assets.cli report | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == done.stderr.count("bad.yaml") == 1, (
        "what is left out is said once, and nothing else"
    )
    assert done.stdout.strip() in (str(PIPE_CLOSED), "0")  # 0 where the report was out before the reader had gone
