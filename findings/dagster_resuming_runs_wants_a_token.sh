#!/usr/bin/env bash
# dagster 1.13.27 and dagster-k8s 0.29.27, an instance with K8sRunLauncher and run_monitoring. 2026-12-01.
# Guess: a pod that only reads or prunes the instance's history (no run is started) needs no Kubernetes credentials, so that its
# automountServiceAccountToken may be off.
# Behaviour: with max_resume_run_attempts above 0 opening the instance asks the run launcher whether it can resume runs, and so makes it;
# K8sRunLauncher reads the pod's token as it is made. Without the token the instance does not open. With 0 it does.
# Exits with 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'dagster==1.13.27' 'dagster-k8s==0.29.27'
cat > "$folder/opening.py" <<'PYTHON'
import os
import sys
import tempfile
from pathlib import Path

from dagster import DagsterInstance
from kubernetes.config.config_exception import ConfigException

os.environ.update(KUBERNETES_SERVICE_HOST="127.0.0.1", KUBERNETES_SERVICE_PORT="443")
CONFIG = """
telemetry: {{enabled: false}}
run_launcher:
  module: dagster_k8s
  class: K8sRunLauncher
  config: {{load_incluster_config: true, job_namespace: a, service_account_name: a, dagster_home: /a, instance_config_map: a}}
run_monitoring: {{enabled: true, max_resume_run_attempts: {attempts}}}
"""


def opens(attempts: int) -> bool:
    with tempfile.TemporaryDirectory() as home:
        Path(home, "dagster.yaml").write_text(CONFIG.format(attempts=attempts))
        try:
            with DagsterInstance.from_config(home) as instance:
                instance.get_runs_count()
        except ConfigException as error:
            print(f"max_resume_run_attempts: {attempts}: {error}")
            return False
    print(f"max_resume_run_attempts: {attempts}: opens")
    return True


sys.exit(0 if opens(0) and not opens(3) else "the behaviour has changed")
PYTHON
"$folder/venv/bin/python" "$folder/opening.py"
