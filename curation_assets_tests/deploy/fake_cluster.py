"""A Kubernetes API on loopback, as much of it as dagster-k8s uses: jobs become local processes.

What is real: the HTTP protocol, admission (the published schema and the rules an API server has beyond it), the job controller's states and
back-off, container environments resolved from config maps, secrets and resource fields, exit codes, logs, deletion with SIGTERM and SIGKILL.
What is not: images (a base environment stands for one), scheduling, and mounts: a volume is a folder of the pod, and a value of the
container's environment that begins with a mount path is pointed at that folder.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

GRACE_S = 10
SUFFIXES = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class ApiError(Exception):
    """An answer other than 200, as an API server words it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    @property
    def body(self) -> dict[str, Any]:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
        }


def quantity(text: Any) -> float:
    """The number that a Kubernetes quantity such as 500m or 8Gi stands for."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    if not found or found[2] not in SUFFIXES:
        raise ApiError(422, "Invalid", f"{text!r} is no quantity")
    return float(found[1]) * SUFFIXES[found[2]]


def admit(manifest: Mapping[str, Any], release: str = "1.33") -> None:
    """Refuses what an API server refuses: what breaks the published schema, and what breaks the rules that no schema states.

    Raises:
        ApiError: 422 with the place and the reason.
    """
    try:
        kubernetes_validate.validate(manifest, release, strict=True)
    except kubernetes_validate.ValidationError as error:
        place = ".".join(str(p) for p in error.path)
        raise ApiError(422, "Invalid", f"{manifest.get('kind')} {place}: {error.message}") from error
    for spec in pod_specs(manifest):
        _admit_pod(spec)


def pod_specs(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The pod specifications inside a manifest."""
    if manifest["kind"] in ("Job", "Deployment", "StatefulSet"):
        yield manifest["spec"]["template"]["spec"]
    elif manifest["kind"] == "CronJob":
        yield manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    elif manifest["kind"] == "Pod":
        yield manifest["spec"]


def _admit_pod(spec: Mapping[str, Any]) -> None:
    volumes = [v["name"] for v in spec.get("volumes") or []]
    if len(volumes) != len(set(volumes)):
        raise ApiError(422, "Invalid", f"volumes: duplicate name in {', '.join(volumes)}")
    for container in spec["containers"]:
        paths = [m["mountPath"] for m in container.get("volumeMounts") or []]
        if len(paths) != len(set(paths)):
            raise ApiError(422, "Invalid", f"volumeMounts: {', '.join(paths)}: must be unique")
        for mount in container.get("volumeMounts") or []:
            if mount["name"] not in volumes:
                raise ApiError(422, "Invalid", f"volumeMounts: no volume is called {mount['name']}")
        asked = container.get("resources") or {}
        requests, limits = asked.get("requests") or {}, asked.get("limits") or {}
        for name in requests.keys() & limits.keys():
            if quantity(requests[name]) > quantity(limits[name]):
                raise ApiError(422, "Invalid", f"resources: {name}: the request {requests[name]} is above the limit")
        for name in (requests.keys() | limits.keys()) - {"cpu", "memory", "ephemeral-storage"}:
            if requests.get(name, limits.get(name)) != limits.get(name):
                raise ApiError(422, "Invalid", f"resources: {name}: must be the same as request and limit")


@dataclass
class Pod:
    """A pod of a job: one process in a session of its own, so that all that it starts dies with it."""

    name: str
    job: str
    namespace: str
    spec: dict[str, Any]
    labels: dict[str, str]
    folder: Path
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    refused: str | None = None

    @property
    def exit_code(self) -> int | None:
        """As a container runtime reports it: 128 + the signal for a process that was killed."""
        code = self.process.poll() if self.process else None
        return code if code is None or code >= 0 else 128 - code

    @property
    def phase(self) -> str:
        if self.process is None:
            return "Pending"
        return {None: "Running", 0: "Succeeded"}.get(self.exit_code, "Failed")

    @property
    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Signals all processes of the pod."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, how)

    def wait(self, limit_s: float = 60) -> int | None:
        """Waits for the process's end; its exit code."""
        if self.process:
            self.process.wait(limit_s)
        return self.exit_code

    def manifest(self) -> dict[str, Any]:
        state: dict[str, Any] = {"running": {"startedAt": self.created.isoformat()}}
        if self.process is None:
            state = {"waiting": {"reason": "CreateContainerConfigError", "message": self.refused}}
        elif self.exit_code is not None:
            reason = "Completed" if self.exit_code == 0 else "Error"
            state = {"terminated": {"exitCode": self.exit_code, "reason": reason}}
        container = self.spec["containers"][0]
        status = {
            "name": container["name"],
            "ready": self.phase == "Running",
            "restartCount": 0,
            "image": container["image"],
            "imageID": "",
            "state": state,
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "uid": self.uid,
                "labels": self.labels,
                "creationTimestamp": self.created.isoformat(),
            },
            "spec": self.spec,
            "status": {"phase": self.phase, "containerStatuses": [status]},
        }


class FakeCluster:
    """The API and its job controller.

    Args:
        objects: manifests that exist: config maps, secrets, service accounts, namespaces.
        image: environment that the image brings along.
        folder: where pods keep their volumes and logs.
        workdir: the image's working directory.
    """

    def __init__(
        self, objects: Sequence[Mapping[str, Any]], image: Mapping[str, str], folder: Path, workdir: Path
    ) -> None:
        self._objects = {(o["kind"], o["metadata"]["name"]): o for o in objects}
        self._image, self._folder, self._workdir = dict(image), folder, workdir
        self._jobs: dict[str, dict[str, Any]] = {}
        self._pods: list[Pod] = []
        self._lock = threading.RLock()
        self.requests: set[tuple[str, str]] = set()

    def pods(self, **labels: str) -> list[Pod]:
        """Pods in order of creation whose labels hold these values; `op="decode"` is the label `dagster/op`."""
        with self._lock:
            wanted = {f"dagster/{k.replace('_', '-')}": v for k, v in labels.items()}
            return [p for p in self._pods if wanted.items() <= p.labels.items()]

    def job(self, name: str) -> dict[str, Any]:
        """A job with its status of now."""
        with self._lock:
            if name not in self._jobs:
                raise ApiError(404, "NotFound", f'jobs.batch "{name}" not found')
            job = self._jobs[name]
            self._control(job)
            return {**job, "status": self._status(job)}

    def create(self, namespace: str, job: dict[str, Any]) -> dict[str, Any]:
        """Admits a job and starts its first pod."""
        admit(job)
        name, account = job["metadata"]["name"], job["spec"]["template"]["spec"].get("serviceAccountName")
        with self._lock:
            if ("Namespace", namespace) not in self._objects:
                raise ApiError(404, "NotFound", f'namespaces "{namespace}" not found')
            if account and ("ServiceAccount", account) not in self._objects:
                raise ApiError(403, "Forbidden", f"error looking up service account {namespace}/{account}: not found")
            if name in self._jobs:
                raise ApiError(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
            now = datetime.now(UTC).isoformat()
            job["metadata"] |= {"namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now}
            self._jobs[name] = job
            self._control(job)
            return self.job(name)

    def patch(self, name: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """A merge patch (RFC 7386) of a job."""
        with self._lock:
            self._jobs[name] = merged(self.job(name), change)
            return self.job(name)

    def delete_job(self, name: str) -> dict[str, Any]:
        with self._lock:
            job = self.job(name)
            del self._jobs[name]
            return job

    def delete_pod(self, name: str) -> dict[str, Any]:
        """SIGTERM, and SIGKILL after the grace period."""
        with self._lock:
            pod = self._pod(name)
            self._pods.remove(pod)
        pod.kill(signal.SIGTERM)
        threading.Timer(GRACE_S, pod.kill).start()
        return pod.manifest()

    def stop(self) -> None:
        for pod in self.pods():
            pod.kill()
            pod.wait()

    def _pod(self, name: str) -> Pod:
        for pod in self._pods:
            if pod.name == name:
                return pod
        raise ApiError(404, "NotFound", f'pods "{name}" not found')

    def _control(self, job: dict[str, Any]) -> None:
        """What the job controller does: a pod at first, and another after a failure while the back-off limit allows it."""
        name = job["metadata"]["name"]
        own = [p for p in self._pods if p.job == name]
        failed = [p for p in own if p.phase == "Failed"]
        if len(own) == len(failed) <= job["spec"].get("backoffLimit", 6):
            self._start(job)

    def _status(self, job: Mapping[str, Any]) -> dict[str, Any]:
        own = [p for p in self._pods if p.job == job["metadata"]["name"]]
        count = {phase: sum(p.phase == phase for p in own) for phase in ("Running", "Pending", "Succeeded", "Failed")}
        status: dict[str, Any] = {"startTime": job["metadata"]["creationTimestamp"]}
        status |= {"active": count["Running"] + count["Pending"], "succeeded": count["Succeeded"]}
        return status | {"failed": count["Failed"]}

    def _start(self, job: Mapping[str, Any]) -> None:
        template, name = job["spec"]["template"], job["metadata"]["name"]
        pod_name = f"{name}-{uuid.uuid4().hex[:5]}"
        labels = {**(template["metadata"].get("labels") or {}), "job-name": name}
        folder = self._folder / pod_name
        folder.mkdir(parents=True)
        pod = Pod(pod_name, name, job["metadata"]["namespace"], template["spec"], labels, folder)
        self._pods.append(pod)
        container = template["spec"]["containers"][0]
        try:
            pod.environment = self._environment(pod, container)
        except KeyError as error:
            pod.refused = str(error.args[0])
            return
        with (folder / "log").open("wb") as log:
            pod.process = subprocess.Popen(
                [*(container.get("command") or []), *(container.get("args") or [])],
                env=pod.environment,
                cwd=self._workdir,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _environment(self, pod: Pod, container: Mapping[str, Any]) -> dict[str, str]:
        """What the container sees: image, `envFrom`, `env`; later ones win."""
        values = {**self._image, "HOSTNAME": pod.name}
        for source in container.get("envFrom") or []:
            reference = source.get("configMapRef") or source["secretRef"]
            values |= self._data("ConfigMap" if "configMapRef" in source else "Secret", reference["name"])
        for variable in container.get("env") or []:
            values[variable["name"]] = self._value(pod, container, variable)
        mounts = self._mount(pod, container)
        for name, value in values.items():
            for path, folder in mounts.items():
                if value == path or value.startswith(path + "/"):
                    values[name] = str(folder) + value[len(path) :]
        return values

    def _value(self, pod: Pod, container: Mapping[str, Any], variable: Mapping[str, Any]) -> str:
        source = variable.get("valueFrom")
        if source is None:
            return str(variable.get("value", ""))
        if "resourceFieldRef" in source:
            kind, _, name = source["resourceFieldRef"]["resource"].partition(".")
            return str(math.ceil(quantity(container["resources"][kind][name])))
        if "fieldRef" in source:
            return {"metadata.name": pod.name, "metadata.namespace": pod.namespace}[source["fieldRef"]["fieldPath"]]
        kind = "Secret" if "secretKeyRef" in source else "ConfigMap"
        reference = source.get("secretKeyRef") or source["configMapKeyRef"]
        return self._data(kind, reference["name"])[reference["key"]]

    def _data(self, kind: str, name: str) -> dict[str, str]:
        if (kind, name) not in self._objects:
            raise KeyError(f'{kind.lower()} "{name}" not found')
        found = self._objects[kind, name]
        return {**(found.get("data") or {}), **(found.get("stringData") or {})}

    def _mount(self, pod: Pod, container: Mapping[str, Any]) -> dict[str, Path]:
        volumes = {v["name"]: v for v in pod.spec.get("volumes") or []}
        mounts = {}
        for mount in container.get("volumeMounts") or []:
            volume, folder = volumes[mount["name"]], pod.folder / mount["name"]
            folder.mkdir(exist_ok=True)
            if "configMap" in volume:
                for file, text in self._data("ConfigMap", volume["configMap"]["name"]).items():
                    (folder / file).write_text(text)
            mounts[mount["mountPath"]] = folder
        return mounts

    def answer(self, method: str, path: str, query: Mapping[str, str], body: dict[str, Any] | None) -> Any:
        """The object, list or text that a request is answered with."""
        found = re.fullmatch(
            r"/(?:api/v1|apis/batch/v1)/namespaces/([^/]+)/(jobs|pods|events)(?:/([^/]+))?(?:/(status|log))?", path
        )
        if not found:
            raise ApiError(404, "NotFound", f"the server could not find the requested resource {method} {path}")
        namespace, kind, name, part = found.groups()
        with self._lock:
            self.requests.add((method, kind))
            if kind == "events":
                return listed("Event", [])
            if kind == "jobs":
                if name is None:
                    if method == "POST":
                        return self.create(namespace, body or {})
                    return listed("Job", chosen([self.job(j) for j in self._jobs], query))
                if method == "PATCH":
                    return self.patch(name, body or {})
                return self.delete_job(name) if method == "DELETE" else self.job(name)
            if name is None:
                return listed("Pod", chosen([p.manifest() for p in self._pods], query))
            if part == "log":
                return self._pod(name).log
            return self._pod(name).manifest() if method == "GET" else self.delete_pod(name)


def merged(target: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, Mapping):
        return change
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def listed(kind: str, items: Sequence[Any]) -> dict[str, Any]:
    return {"kind": f"{kind}List", "apiVersion": "batch/v1" if kind == "Job" else "v1", "metadata": {}, "items": items}


def chosen(items: Sequence[dict[str, Any]], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """Items that a label selector and a field selector of equalities let through."""
    labels = dict(pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair)
    names = dict(pair.split("=", 1) for pair in query.get("fieldSelector", "").split(",") if pair)
    return [
        item
        for item in items
        if labels.items() <= (item["metadata"].get("labels") or {}).items()
        and names.get("metadata.name", item["metadata"]["name"]) == item["metadata"]["name"]
    ]


@contextmanager
def serve(cluster: FakeCluster, kubeconfig: Path, namespace: str) -> Iterator[FakeCluster]:
    """Serves the API on a free port of loopback, and writes the kubeconfig that leads there."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            url = urlsplit(self.path)
            query = {k: v[-1] for k, v in parse_qs(url.query).items()}
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                result, code = cluster.answer(self.command, url.path, query, json.loads(raw) if raw else None), 200
            except ApiError as error:
                result, code = error.body, error.code
            text = result if isinstance(result, str) else json.dumps(result)
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(result, str) else "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = do_PATCH = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "loopback",
                "contexts": [
                    {
                        "name": "loopback",
                        "context": {"cluster": "loopback", "user": "nobody", "namespace": namespace},
                    }
                ],
                "clusters": [{"name": "loopback", "cluster": {"server": address}}],
                "users": [{"name": "nobody", "user": {}}],
            }
        )
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        server.shutdown()
        server.server_close()
