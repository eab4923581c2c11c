"""What deploy/ ships is what an API server and Dagster accept, and its ways of installing agree with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster_k8s import DagsterK8sJobConfig, K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job, get_user_defined_k8s_config
from kubernetes.client import ApiClient

from curation_assets.definitions import build_definitions
from curation_assets.engine.pods import pod
from curation_assets.orchestration.runs import CODE_LOCATION
from curation_assets.recipes import Recipe, load_recipes, parse_recipe
from curation_assets.settings import Settings
from curation_assets_tests.deploy.conftest import DEPLOY, manifests, named
from curation_assets_tests.deploy.fake_cluster import ApiError, admit, pod_specs

CLUSTER = yaml.safe_load((DEPLOY / "dagster.cluster.yaml").read_text())
VALUES = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
LAUNCHER = CLUSTER["run_launcher"]["config"]


def snake(value: Any) -> Any:
    """Keys of the chart's values as Dagster writes them."""
    if isinstance(value, Mapping):
        return {"".join(f"_{c.lower()}" if c.isupper() else c for c in k): snake(v) for k, v in value.items()}
    return value


@pytest.mark.parametrize("manifest", manifests(), ids=lambda o: f"{o['kind']}-{o['metadata']['name']}")
def test_each_manifest_is_admitted(manifest: dict[str, Any]) -> None:
    admit(manifest)


def test_each_reference_leads_to_an_object() -> None:
    """Names that pods take their environment, volumes and identity from."""
    there = {(o["kind"], o["metadata"]["name"]) for o in manifests()} | {("ConfigMap", "dagster-instance")}
    wanted = set()
    for spec in (s for o in manifests() for s in pod_specs(o)):
        wanted.add(("ServiceAccount", spec["serviceAccountName"]))
        wanted |= {("ConfigMap", v["configMap"]["name"]) for v in spec.get("volumes", ())}
        for source in spec["containers"][0]["envFrom"]:
            kind = "ConfigMap" if "configMapRef" in source else "Secret"
            wanted.add((kind, next(iter(source.values()))["name"]))
    wanted |= {("ConfigMap", name) for name in LAUNCHER["env_config_maps"]}
    wanted |= {("Secret", name) for name in LAUNCHER["env_secrets"]}
    wanted |= {("ConfigMap", v["configMap"]["name"]) for v in LAUNCHER["volumes"]}
    wanted |= {("ServiceAccount", LAUNCHER["service_account_name"]), ("Namespace", LAUNCHER["job_namespace"])}
    assert wanted <= there


def test_the_instance_config_is_one_that_dagster_takes(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((DEPLOY / "dagster.cluster.yaml").read_text())
    config, _ = dagster_instance_config(str(tmp_path))
    assert config["run_monitoring"]["max_resume_run_attempts"] == 3
    checked = process_config(K8sRunLauncher.config_type(), LAUNCHER)
    assert checked.success, checked.errors


def test_the_environment_has_all_that_is_read_from_it() -> None:
    environment = set(named("ConfigMap", "curation-settings")["data"]) | set(
        named("Secret", "curation-secrets")["stringData"]
    )
    read = {v["env"] for v in CLUSTER["storage"]["postgres"]["postgres_db"].values() if isinstance(v, dict)}
    assert read | {CLUSTER["compute_logs"]["config"]["bucket"]["env"]} <= environment


def test_the_example_settings_and_recipes_load(tmp_path: Path) -> None:
    for name, text in named("ConfigMap", "curation-recipes")["data"].items():
        (tmp_path / name).write_text(text)
    settings = Settings.load(named("ConfigMap", "curation-settings")["data"])
    assert settings.executor == "k8s"
    assert settings.step_retries == 2
    assert list(load_recipes(str(tmp_path))) == ["videos"]


def test_every_step_gets_a_pod_that_is_admitted() -> None:
    asking = pods_of(load_recipes(str(DEPLOY.parent / "recipes")))
    gpus = on_gpus(asking)
    assert {"frame_embeddings", "captions", "tracks"} <= gpus
    assert "cut_clips" not in gpus
    assert asking["decode"]["requests"]["cpu"] == "8"
    assert asking["video_metadata"] == LAUNCHER["resources"]
    publishing = ("curated_clips", "curated_tracks", "publish_clip_dataset", "embedding_dataset")
    assert {asking[n]["requests"]["memory"] for n in publishing} == {"8Gi"}


def test_the_page_says_what_each_step_asks_for() -> None:
    page = (DEPLOY.parent / "docs/how-to/kubernetes.md").read_text(encoding="utf-8")
    lines = page.partition("| step | cores |")[2].partition("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    said = {name: tuple(rest) for first, *rest in rows for name in re.findall(r"`(\w+)`", first.partition("(")[0])}
    others = next(
        tuple(cell.strip() for cell in line.strip("|").split("|")[1:]) for line in lines if "all others" in line
    )
    recipes = load_recipes(str(DEPLOY.parent / "recipes"))
    pools = pools_of_steps(recipes)
    found = {n: (*_asked(r), pools[n]) for n, r in pods_of(recipes).items()}
    own = {n: asked for n, asked in found.items() if asked[:-1] != others[:-1]}
    for by_a_package in ("frame_score", "media_score"):
        assert said.pop(by_a_package) == said["audio_scores"]
    assert own == said


def _asked(resources: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Cores, memory, scratch and GPUs as the page writes them."""
    requests = resources["requests"]
    cores = requests["cpu"].replace("500m", "0.5")
    spaced = (re.sub(r"(\d)(?=[A-Z])", r"\1 ", requests.get(name, "")) for name in ("memory", "ephemeral-storage"))
    return cores, *spaced, resources["limits"].get("nvidia.com/gpu", "")  # type: ignore[return-value]


def pools_of_steps(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Step -> its pool, empty without one."""
    definitions = build_definitions(Settings.load({"CURATION_STORAGE": "memory://pods"}), recipes)
    nodes = definitions.resolve_implicit_global_asset_job_def().all_node_defs
    return {node.name: getattr(node, "pool", None) or "" for node in nodes}


def test_clips_that_a_gpu_encodes_are_cut_where_there_is_one() -> None:
    recipe = parse_recipe(
        "dataset: toy\nsource: {format: folder, path: x}\nsubsets: {s: {export: {clips: {encoder: hevc_nvenc}}}}\n",
        "toy",
    )
    assert on_gpus(pods_of({"toy": recipe})) >= {"cut_clips"}
    assert "publish_clip_dataset" not in on_gpus(pods_of({"toy": recipe}))


def on_gpus(asking: Mapping[str, Any]) -> set[str]:
    """The steps that ask for a GPU."""
    return {n for n, r in asking.items() if "nvidia.com/gpu" in r["limits"]}


def pods_of(recipes: Mapping[str, Recipe]) -> dict[str, Any]:
    """Step -> the resources of its pod: the launcher's defaults merged with what each op asks for, as dagster-k8s merges them."""
    settings = Settings.load(
        {"CURATION_STORAGE": "memory://pods", "CURATION_EXECUTOR": "k8s", "CURATION_STEP_RETRIES": "2"}
    )
    definitions = build_definitions(settings, recipes)
    base = K8sContainerContext(
        run_k8s_config=get_user_defined_k8s_config({})._replace(
            container_config={"resources": LAUNCHER["resources"], "volume_mounts": LAUNCHER["volume_mounts"]},
            pod_spec_config={"volumes": LAUNCHER["volumes"]},
        )
    )
    asking = {}
    for node in definitions.resolve_implicit_global_asset_job_def().all_node_defs:
        own = K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(dict(node.tags)))
        job = construct_dagster_k8s_job(
            DagsterK8sJobConfig(job_image="curation-assets:test"),
            ["dagster", "api", "execute_step"],
            f"step-{node.name}".replace("_", "-"),
            user_defined_k8s_config=base.merge(own).run_k8s_config,
        )
        manifest = ApiClient().sanitize_for_serialization(job)
        admit(manifest)
        assert manifest["spec"]["backoffLimit"] == 0
        asking[node.name] = manifest["spec"]["template"]["spec"]["containers"][0]["resources"]
    return asking


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"requests": {"memory": "8Gi"}, "limits": {"memory": "2Gi"}}, "above the limit"),
        ({"requests": {"nvidia.com/gpu": "1"}}, "must be the same"),
    ],
)
def test_a_pod_that_no_server_admits_is_refused(asked: dict[str, Any], why: str) -> None:
    job = named("Job", "curation-pools")
    job["spec"]["template"]["spec"]["containers"][0]["resources"] = asked
    with pytest.raises(ApiError, match=why):
        admit(job)


def test_a_misspelt_key_is_refused() -> None:
    job = named("Job", "curation-pools")
    job["spec"]["backOffLimit"] = 0
    with pytest.raises(ApiError, match="backOffLimit"):
        admit(job)


def test_scratch_is_asked_for_where_it_is_mounted() -> None:
    config = pod(cpu=2, memory="4Gi", scratch="50Gi")["dagster-k8s/config"]
    container, spec = config["container_config"], config["pod_spec_config"]
    assert (
        container["resources"]["requests"]["ephemeral-storage"]
        == spec["volumes"][0]["empty_dir"]["size_limit"]
        == "50Gi"
    )
    assert {"name": "TMPDIR", "value": container["volume_mounts"][0]["mount_path"]} in container["env"]
    assert pod(cpu=2, memory="4Gi")["dagster-k8s/config"]["pod_spec_config"] == {}


def test_the_chart_gets_what_the_plain_manifests_say() -> None:
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    assert launcher["resources"] == LAUNCHER["resources"]
    ours = LAUNCHER["run_k8s_config"]
    assert snake(launcher["runK8sConfig"]) == ours
    assert ours["job_spec_config"]["backoff_limit"] == 0
    daemon = VALUES["dagsterDaemon"]
    assert snake(daemon["runMonitoring"]) == CLUSTER["run_monitoring"]
    assert snake(daemon["runRetries"]) == CLUSTER["run_retries"]
    assert snake(daemon["runCoordinator"]["config"]["queuedRunCoordinator"]) == CLUSTER["run_coordinator"]["config"]
    for key in ("concurrency", "retention"):
        assert snake({k: v for k, v in VALUES[key].items() if k != "enabled"}) == CLUSTER[key]
    assert VALUES["additionalInstanceConfig"]["nux"] == CLUSTER["nux"]
    assert VALUES["telemetry"] == CLUSTER["telemetry"]
    assert VALUES["postgresql"]["postgresqlScheme"] == CLUSTER["storage"]["postgres"]["postgres_db"]["scheme"]
    logs = VALUES["computeLogManager"]["config"]["s3ComputeLogManager"]
    assert snake(logs) == CLUSTER["compute_logs"]["config"]
    (location,) = VALUES["dagster-user-deployments"]["deployments"]
    assert location["volumes"] == LAUNCHER["volumes"]
    assert location["volumeMounts"] == LAUNCHER["volume_mounts"]
    assert "resources" not in location


def test_the_charts_pods_are_kept_as_short_as_the_plain_ones() -> None:
    (location,) = VALUES["dagster-user-deployments"]["deployments"]
    pairs = {
        "curation-code": location,
        "dagster-webserver": VALUES["dagsterWebserver"],
        "dagster-daemon": VALUES["dagsterDaemon"],
    }
    for name, values in pairs.items():
        spec = named("Deployment", name)["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert values["podSecurityContext"] == spec["securityContext"]
        assert values["securityContext"] == container["securityContext"]
        assert values.get("livenessProbe") == container.get("livenessProbe")
        assert f"{values['image']['repository']}:{values['image']['tag']}" == container["image"]


def test_both_ways_call_the_code_location_what_local_runs_call_it() -> None:
    (server,) = VALUES["dagsterWebserver"]["workspace"]["servers"]
    (location,) = VALUES["dagster-user-deployments"]["deployments"]
    assert (server["host"], server["port"]) == (location["name"], location["port"])
    workspace = yaml.safe_load(named("ConfigMap", "dagster-workspace")["data"]["workspace.yaml"])
    (plain,) = workspace["load_from"]
    assert server["name"] == plain["grpc_server"]["location_name"] == CODE_LOCATION
    assert {"name": "grpc", "port": plain["grpc_server"]["port"], "targetPort": "grpc"} in named(
        "Service", plain["grpc_server"]["host"]
    )["spec"]["ports"]


def test_nothing_names_a_registry_or_holds_a_secret() -> None:
    for file in [*DEPLOY.rglob("*.yaml"), DEPLOY / "Dockerfile"]:
        text = file.read_text()
        assert "docker.io" not in text, file
        assert "password:" not in text.replace("password: {env: DAGSTER_PG_PASSWORD}", ""), file


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_renders_them_with_the_instance() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY)], capture_output=True, text=True, check=True, timeout=240
    )
    rendered = [o for o in yaml.safe_load_all(done.stdout) if o]
    instance = next(o for o in rendered if o["metadata"]["name"] == "dagster-instance")
    assert yaml.safe_load(instance["data"]["dagster.yaml"]) == CLUSTER
    kinds = {(o["kind"], o["metadata"]["name"]) for o in rendered} - {("ConfigMap", "dagster-instance")}
    assert kinds == {(o["kind"], o["metadata"]["name"]) for o in manifests()} - {("Secret", "curation-secrets")}
