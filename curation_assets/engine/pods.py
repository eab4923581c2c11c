"""What the step of a stage asks of Kubernetes, as op tags; they count under `k8s_job_executor` alone."""

from __future__ import annotations

from typing import Any

SCRATCH = "/scratch"
"""Where the scratch volume of a step is mounted; the image has a folder there too, for steps without one."""
ALLOTTED_CPUS = ("CURATION_WORKERS", "OMP_NUM_THREADS")
"""Variables that take a number of cores from the pod. Without them a process counts the cores of the node, which it shares."""


def pod(cpu: int, memory: str, scratch: str | None = None, gpus: int = 0) -> dict[str, Any]:
    """Op tags that give a step a pod of its own size.

    Memory is a limit as well as a request, so that a step that outgrows it dies alone, and a default limit of the run launcher never
    lies below the request. CPU is a request alone: idle cores of the node may be used.

    Args:
        cpu: cores; also the number of worker processes of the stage.
        memory: a Kubernetes quantity, such as 8Gi.
        scratch: size of an empty volume on the node for temporary files; None for stages that write none worth mentioning.
        gpus: devices of NVIDIA's device plugin.
    """
    requests: dict[str, str] = {"cpu": str(cpu), "memory": memory}
    limits: dict[str, str] = {"memory": memory}
    container: dict[str, Any] = {
        "env": [
            {"name": name, "value_from": {"resource_field_ref": {"resource": "requests.cpu"}}} for name in ALLOTTED_CPUS
        ],
        "resources": {"requests": requests, "limits": limits},
    }
    spec: dict[str, Any] = {}
    if gpus:
        limits["nvidia.com/gpu"] = str(gpus)
    if scratch:
        requests["ephemeral-storage"] = scratch
        container["env"].append({"name": "TMPDIR", "value": SCRATCH})
        container["volume_mounts"] = [{"name": "scratch", "mount_path": SCRATCH}]
        spec["volumes"] = [{"name": "scratch", "empty_dir": {"size_limit": scratch}}]
    return {"dagster-k8s/config": {"container_config": container, "pod_spec_config": spec}}


GPU = pod(cpu=4, memory="16Gi", scratch="20Gi", gpus=1)
"""What a step with a model asks of Kubernetes."""
