"""The doctor, the numbers for Prometheus and the notices, on the instance file that is shipped."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    EventLogEntry,
    build_run_status_sensor_context,
    job,
    op,
)
from prometheus_client.parser import text_string_to_metric_families

from curation_assets.on_call.metrics import NAMES
from curation_assets.orchestration.dead_runs import PROCESS_TAG
from curation_assets.orchestration.notices import failure_notices, notice
from curation_assets.settings import Settings
from curation_assets_tests.faults.shipped import DEPLOY, Shipped, kill_group
from curation_assets_tests.publish.cutting.test_encoders import why_not
from curation_assets_tests.sample_video import sample_video

RECIPE = "dataset: own\nsource: {{format: folder, path: {folder}}}\nclips: {{from: whole, min_s: 0.1}}\nsubsets: {{all: {{}}}}\n"
MONITORING = DEPLOY / "monitoring"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """An installation that has run once, over one video that is fine and one that is damaged."""
    root = tmp_path_factory.mktemp("on_call")
    (root / "videos").mkdir()
    (root / "videos/one.mp4").write_bytes(sample_video())
    (root / "videos/broken.mp4").write_bytes(b"no video")
    own = Shipped(root)
    own.declare("own", RECIPE.format(folder=root / "videos"))
    done = own.curation("run", "recipes/own.yaml")
    assert done.returncode in (0, 1), done.stderr
    return own


def numbers(text: str) -> dict[tuple[str, ...], float]:
    return {
        (s.name, *(v for _, v in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_nothing_is_wrong_after_a_run(shipped: Shipped) -> None:
    done = shipped.curation("doctor")
    assert (done.returncode, done.stdout) == (0, "nothing is wrong that could be told from here\n"), done.stderr


def test_the_doctor_names_what_is_wrong_and_mends_what_it_may(shipped: Shipped, tmp_path: Path) -> None:
    own = Shipped(tmp_path)
    shutil.copytree(shipped.data, own.data)
    shutil.copytree(shipped.home, own.home, dirs_exist_ok=True)
    own.declare("own", (shipped.root / "recipes/own.yaml").read_text())
    own.declare("bad", "dataset: bad\nsource: {format: folder, path: x}\nsubsets: {s: {where: ['motin > 1']}}\n")
    _leave_a_dead_run_in_a_pool(own.home)
    told = [json.loads(line) for line in own.curation("doctor", "--json").stdout.splitlines()]
    about = {t["about"]: t for t in told}
    assert set(about) == {"recipes", "runs"}
    assert "did you mean motion" in about["recipes"]["text"]
    assert "is dead and keeps a slot of cpu" in about["runs"]["text"]
    fixed = own.curation("doctor", "--fix", "--json")
    told = [json.loads(line) for line in fixed.stdout.splitlines()]
    assert {(t["about"], t["fixed"]) for t in told} == {("recipes", False), ("runs", True)}
    assert fixed.returncode == 1
    (own.root / "recipes/bad.yaml").unlink()
    assert own.curation("doctor").returncode == 0


def test_the_doctor_says_which_encoder_does_not_open(shipped: Shipped, tmp_path: Path) -> None:
    own = Shipped(tmp_path)
    own.declare(
        "own",
        (shipped.root / "recipes/own.yaml")
        .read_text()
        .replace("all: {}", "all: {export: {clips: {encoder: hevc_nvenc}}}"),
    )
    told = [json.loads(line) for line in own.curation("doctor", "--json").stdout.splitlines()]
    found = [t["text"] for t in told if t["about"] == "encoders"]
    why = why_not("hevc_nvenc")
    assert found == ([f"own-all: {why}"] if why else [])


def _leave_a_dead_run_in_a_pool(home: Path) -> None:
    """What a run leaves that was killed while a step of it held a slot."""
    gone = subprocess.run(
        [sys.executable, "-c", "from curation_resources.processes import this_process; print(this_process().dumps())"],
        capture_output=True,
        text=True,
        check=True,
    )
    with DagsterInstance.from_config(str(home)) as instance:
        run = instance.create_run_for_job(_job, tags={PROCESS_TAG: gone.stdout.strip()})
        instance.handle_new_event(
            EventLogEntry(
                error_info=None,
                level=20,
                user_message="",
                run_id=run.run_id,
                timestamp=time.time(),
                dagster_event=DagsterEvent(DagsterEventType.PIPELINE_START.value, run.job_name),
            )
        )
        claim = instance.event_log_storage.claim_concurrency_slot("cpu", run.run_id, "_fails")
        assert claim.is_claimed


def test_numbers_agree_with_the_tables(shipped: Shipped, tmp_path: Path) -> None:
    found = numbers(shipped.curation("metrics").stdout)
    assert found["curation_partitions", "raw_shards", "own", "fresh"] == 1
    assert found["curation_videos_failed", "own", "corrupt"] == 1
    assert found["curation_funnel_rows", "own", "videos in the source"] == 2
    assert found["curation_funnel_rows", "own", "clips"] == 1
    assert found["curation_cost_per_clip", "own"] > 0
    assert {s: found["curation_scrape_error", s] for s in ("recipes", "storage", "instance")} == {
        "recipes": 0,
        "storage": 0,
        "instance": 0,
    }
    assert found["curation_runs_dead",] == 0
    assert shipped.curation("metrics", "--textfile", str(tmp_path / "own.prom")).returncode == 0
    assert numbers((tmp_path / "own.prom").read_text()).keys() == found.keys()


def test_a_damaged_table_is_one_thing_among_others(shipped: Shipped, tmp_path: Path) -> None:
    """Nothing stops at it: the doctor names it, `explain` tells the rest, and the numbers are there."""
    root = tmp_path / "copy"
    shutil.copytree(shipped.root, root)
    copy = Shipped(root)
    (table,) = Path(copy.data, "motion_scores").glob("*.parquet")
    table.write_bytes(table.read_bytes()[:-100])
    said = copy.curation("doctor")
    assert said.returncode == 1, said.stderr
    (line,) = (line for line in said.stdout.splitlines() if "is damaged" in line)
    assert line.startswith(f"storage: {table} is damaged (")
    told = copy.curation("explain", "one")
    assert told.returncode == 0, told.stderr
    clip = re.findall(r"^  (one_\d+_\d+)", told.stdout, re.MULTILINE)[0]
    told = copy.curation("explain", clip)
    assert "\nquality_scores\n" in told.stdout
    assert f"\nDAMAGED {table} is damaged (" in told.stdout
    found = numbers(copy.curation("metrics").stdout)
    assert found["curation_partitions_behind", "motion_scores", "own", "damaged"] == 1
    assert found["curation_scrape_error", "storage"] == 1
    assert found["curation_funnel_rows", "own", "clips"] == 1


def test_numbers_are_served_and_say_what_cannot_be_read(shipped: Shipped, tmp_path: Path) -> None:
    process = shipped.start(["metrics", "--serve", "0"])
    try:
        assert process.stdout is not None
        url = re.search(r"http\S+", process.stdout.readline())
        assert url is not None

        def scraped(of: str) -> float:
            return numbers(urllib.request.urlopen(url[0], timeout=240).read().decode())["curation_scrape_error", of]

        assert scraped("storage") == scraped("recipes") == 0
        shipped.declare("late", "dataset: late\nnonsense: 1\n")
        assert scraped("recipes") == 1, "recipes are read anew with every request"
        (shipped.root / "recipes/late.yaml").unlink()
    finally:
        kill_group(process)
    nowhere = {"CURATION_S3_ENDPOINT": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    away = Shipped(tmp_path, storage="s3://bucket/root", environment=nowhere)
    away.declare("own", RECIPE.format(folder=tmp_path))
    found = numbers(away.curation("metrics").stdout)
    assert found["curation_scrape_error", "storage"] == 1
    assert found["curation_scrape_error", "instance"] == 0


def test_stale_and_report_as_json(shipped: Shipped) -> None:
    stale = shipped.curation("stale", "--json", "--exit-code")
    *behind, last = map(json.loads, stale.stdout.splitlines())
    assert stale.returncode == bool(behind)
    assert last["counts"]["clips"] == {"fresh": 1}
    report = shipped.curation("report", "--json", "--exit-code")
    (told,) = map(json.loads, report.stdout.splitlines())
    assert (report.returncode, told["dataset"], told["failures"]) == (1, "own", {"corrupt": 1})


@op
def _fails() -> None:
    raise ValueError("the caption server answered 500")


@job
def _job() -> None:
    _fails()


class _Chat(BaseHTTPRequestHandler):
    taken: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200 if self.path == "/hook" else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def chat() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_failed_run_is_told_to_the_webhook(chat: str) -> None:
    with DagsterInstance.ephemeral() as instance:
        result = _job.execute_in_process(
            instance=instance, raise_on_error=False, tags={"dagster/partition": "own-00000"}
        )
        event = next(e for e in result.all_events if e.event_type_value == "PIPELINE_FAILURE")
        context = build_run_status_sensor_context(
            sensor_name="failure_notices",
            dagster_event=event,
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
        failure_notices(Settings(webhook=f"{chat}/hook"))(context)
        told = _Chat.taken[-1]
        assert told == notice(context)
        assert told["partition"] == "own-00000"
        assert told["text"].startswith(f"curation: run {result.run_id[:8]} failed for own-00000\n_fails: ")
        with pytest.raises(Exception, match="the webhook answered 500") as raised:
            failure_notices(Settings(webhook=f"{chat}/secret"))(context)
        assert "secret" not in str(raised.value)


def test_rules_and_dashboard_name_metrics_that_exist() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    expressions = [r["expr"] for r in rules] + [t["expr"] for p in dashboard["panels"] for t in p["targets"]]
    named = {name for e in expressions for name in re.findall(r"curation_\w+", e)}
    assert named <= set(NAMES)
    assert set(NAMES) - named == set()
    runbook = (DEPLOY.parent / "docs/how-to/runbook.md").read_text()
    anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^## (.*)$", runbook, re.M)}
    assert {r["annotations"]["runbook"].split("#")[1] for r in rules} <= anchors


def product_texts() -> str:
    """All pieces of text in the product's code, with what is filled in left out but for the nouns of counts, which are in the plural."""
    files = [f for d in ("curation_assets", "resources") for f in (DEPLOY.parent / d).rglob("*.py")]
    nodes = [n for f in files for n in ast.walk(ast.parse(f.read_text()))]
    pieces = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    pieces += ["".join(map(_filled, n.values)) for n in nodes if isinstance(n, ast.JoinedStr)]
    return "\0".join(pieces)


def _filled(part: ast.expr) -> str:
    """A part of a text with places for values."""
    match part:
        case ast.Constant(value=str(text)):
            return text
        case ast.FormattedValue(value=ast.Call(func=ast.Name(id="plural"), args=[_, ast.Constant(value=str(one))])):
            return f"{one}s"
        case ast.FormattedValue(
            value=ast.Call(func=ast.Name(id="plural"), args=[_, _, ast.Constant(value=str(many)), *_])
        ):
            return many
    return "\0"


def test_the_runbook_quotes_what_the_product_says() -> None:
    said = product_texts()
    quotes = [
        quote
        for line in (DEPLOY.parent / "docs/how-to/runbook.md").read_text().splitlines()
        if line.startswith("| ") and line.count("|") >= 3
        for quote in re.findall(r"`([^`]+)`", line.split("|")[1])
        if not quote.startswith("curation_")
    ]
    assert len(quotes) > 30
    missing = {
        quote: part
        for quote in quotes
        for part in (p.strip(" .,:;()") for p in quote.split("..."))
        if part and part not in said
    }
    assert missing == {}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian's package prometheus)")
def test_promtool_takes_the_rules_and_the_numbers(shipped: Shipped) -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(MONITORING / "alerts.yaml")], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    text = shipped.curation("metrics").stdout
    linted = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stderr
