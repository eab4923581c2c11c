#!/usr/bin/env bash
# dagster 1.13.27, in-process executor, a concurrency pool whose only slot is taken. 2026-11-29.
# Guess: a step that waits for a slot sleeps between two questions to the database (its claims have pauses of 1 to 15 seconds).
# Behaviour: a core is busy for as long as anything waits. InstanceConcurrencyContext.interval_to_next_pending_claim_check returns
# min([0, *times left]), which is never more than zero, so that the loop over the plan goes round without a pause.
# Exits with 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'dagster==1.13.27'
mkdir "$folder/home"
printf 'telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n' > "$folder/home/dagster.yaml"
cat > "$folder/wait.py" <<'PYTHON'
import sys
import threading
import time

from dagster import DagsterInstance, job, op


@op(pool="p")
def work():
    pass


@job
def one():
    work()


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
with DagsterInstance.get() as instance:
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default("p")
    assert storage.claim_concurrency_slot("p", "another run", "step").is_claimed
    done = []
    run = lambda: done.append(one.execute_in_process(instance=instance, run_config=QUIET).success)  # noqa: E731
    thread = threading.Thread(target=run)
    thread.start()
    while not storage.get_concurrency_info("p").pending_steps:
        time.sleep(0.05)
    clock, cpu = time.monotonic(), time.process_time()
    time.sleep(5)
    cpu, clock = time.process_time() - cpu, time.monotonic() - clock
    storage.free_concurrency_slots_for_run("another run")
    thread.join()
    print(f"waited {clock:.1f} s, CPU {cpu:.2f} s; then the run {'succeeded' if done == [True] else 'failed'}")
    sys.exit(0 if cpu > 0.5 and done == [True] else "the behaviour has changed: waiting costs next to nothing")
PYTHON
DAGSTER_HOME=$folder/home "$folder/venv/bin/python" "$folder/wait.py"
