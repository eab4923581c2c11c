"""The commands of the page on Kubernetes lead to files, objects and ports that are there, and pods can open the instance that they are given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance
from kubernetes.config.config_exception import ConfigException

from curation_assets_tests.deploy.conftest import DEPLOY, manifests, named
from curation_assets_tests.deploy.fake_cluster import pod_specs

ROOT = DEPLOY.parent
VALUES = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
SECRETS = {"my-secret.yaml": "curation-secrets"}
"""What the reader writes first, a copy of secret.template.yaml."""


def install(way: str) -> list[list[str]]:
    """The commands of one way to install, as words; `way` is a word that only its block has."""
    page = (ROOT / "docs/how-to/kubernetes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page.replace("\\\n", " "), flags=re.DOTALL)
    (block,) = (b for b in blocks if way in b)
    return [shlex.split(line, comments=True) for line in block.splitlines()]


def applied(command: list[str]) -> list[str]:
    """The files that a `kubectl apply` names."""
    return [command[n + 1] for n, word in enumerate(command) if word == "-f" and command[:2] == ["kubectl", "apply"]]


CHART, PLAIN = install("helm install"), install("apply -k")
RELEASE = next(c for c in CHART if c[:2] == ["helm", "install"])
BESIDE = [
    o
    for command in CHART[CHART.index(RELEASE) :]
    for file in applied(command)
    for o in yaml.safe_load_all((ROOT / file).read_text())
]
"""The objects that are applied after the chart."""


def chart_makes() -> set[tuple[str, str]]:
    """What the chart's templates call those of its objects that others refer to, given the release's name."""
    release = RELEASE[2]
    return {
        ("ServiceAccount", VALUES["global"]["serviceAccountName"]),
        ("ConfigMap", f"{release}-instance"),
        ("Service", f"{release}-dagster-webserver"),
    }


def test_the_files_that_are_named_are_there() -> None:
    files = [f for c in (*CHART, *PLAIN) for f in applied(c)] + [RELEASE[RELEASE.index("-f") + 1]]
    assert {f for f in files if not (ROOT / f).is_file()} == set(SECRETS)
    assert ["kubectl", "apply", "-k", "deploy"] in PLAIN


def test_the_chart_is_that_of_the_pinned_dagster() -> None:
    version = RELEASE[RELEASE.index("--version") + 1]
    assert f"dagster=={version}\n" in (ROOT / "constraints.txt").read_text()
    assert f"--version {version} " in (DEPLOY / "helm/values.yaml").read_text()


@pytest.mark.parametrize("way", [CHART, PLAIN], ids=["chart", "plain"])
def test_ports_are_forwarded_to_services_that_have_them(way: list[list[str]]) -> None:
    own = {
        o["metadata"]["name"]: [p["port"] for p in o["spec"]["ports"]]
        for o in (BESIDE if way is CHART else manifests())
        if o["kind"] == "Service"
    }
    if way is CHART:
        own |= {
            name: [VALUES["dagsterWebserver"]["service"]["port"]] for kind, name in chart_makes() if kind == "Service"
        }
    forwarded = [c[-2:] for c in way if "port-forward" in c]
    assert len(forwarded) == 2
    for service, ports in forwarded:
        assert int(ports.partition(":")[2]) in own[service.removeprefix("svc/")]
    pictures = named("ConfigMap", "curation-settings")["data"]["CURATION_PICTURES_URL"]
    assert ["svc/curation-pictures", f"{pictures.rpartition(':')[2]}:3030"] in forwarded


def test_what_is_applied_beside_the_chart_finds_what_it_refers_to() -> None:
    there = chart_makes() | {(o["kind"], o["metadata"]["name"]) for o in BESIDE}
    before = CHART[: CHART.index(RELEASE)]
    for command in before:
        for file in applied(command):
            objects = [] if file in SECRETS else yaml.safe_load_all((ROOT / file).read_text())
            there |= {(o["kind"], o["metadata"]["name"]) for o in objects}
        there |= {("Secret", SECRETS[f]) for f in applied(command) if f in SECRETS}
    specs = [s for o in BESIDE for s in pod_specs(o)]
    assert len(specs) == 3
    for spec in specs:
        (container,) = spec["containers"]
        wanted = {("ServiceAccount", spec["serviceAccountName"])}
        wanted |= {("ConfigMap", v["configMap"]["name"]) for v in spec.get("volumes", ())}
        for source in container["envFrom"]:
            wanted.add(("ConfigMap" if "configMapRef" in source else "Secret", next(iter(source.values()))["name"]))
        assert wanted <= there
        for mount in container.get("volumeMounts", ()):
            assert mount["mountPath"] == f"{VALUES['global']['dagsterHome']}/dagster.yaml"


def test_the_charts_database_has_the_password_that_dagster_is_told() -> None:
    made = next(c for c in CHART if c[3:6] == ["create", "secret", "generic"])
    assert made[6] == VALUES["postgresql"]["existingSecret"] == VALUES["global"]["postgresqlSecretName"]
    keys = {w.removeprefix("--from-literal=").partition("=")[0] for w in made if w.startswith("--from-literal=")}
    assert keys == {"postgresql-password", "postgresql-postgres-password"}
    assert not VALUES["generatePostgresqlPasswordSecret"]


def test_who_opens_the_instance_needs_the_token_of_an_account_and_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((DEPLOY / "dagster.cluster.yaml").read_text())
    config["storage"] = {"sqlite": {"base_dir": str(tmp_path)}}
    del config["compute_logs"]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    token = tmp_path / "token"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", str(token))
    with pytest.raises(ConfigException, match="token"), DagsterInstance.from_config(str(tmp_path)):
        pass
    token.write_text("a token")
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.run_launcher).__name__ == "K8sRunLauncher"

    opening = [s for o in manifests() for s in pod_specs(o) if mounts(s, "dagster.yaml")]
    assert len(opening) == 5
    assert all(s.get("automountServiceAccountToken", True) for s in opening)
    others = [s for o in manifests() for s in pod_specs(o) if not mounts(s, "dagster.yaml")]
    assert all(s["automountServiceAccountToken"] is False for s in others)


def mounts(spec: Any, file: str) -> bool:
    """Whether a container of the pod sees this file of a volume."""
    return any(m.get("subPath") == file for c in spec["containers"] for m in c.get("volumeMounts", ()))
