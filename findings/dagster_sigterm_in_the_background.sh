#!/usr/bin/env bash
# dagster 1.13.27, `dagster api grpc` (`dagster dev`, the web server and the daemon call the same function), started in the background of a script. 2026-11-30.
# Guess: SIGTERM ends a server, wherever it was started.
# Behaviour: it gives SIGTERM the handler that SIGINT has, so that both end it in order. A shell without job control has its background jobs ignore SIGINT, and so the
# server ignores SIGTERM too: `kill` does nothing, a service manager has to send SIGKILL. What starts it can give SIGINT its default back before: then SIGTERM ends it.
# Exits with 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'dagster==1.13.27'
mkdir "$folder/home"
printf 'telemetry: {enabled: false}\n' > "$folder/home/dagster.yaml"
printf 'from dagster import Definitions\ndefs = Definitions()\n' > "$folder/empty.py"
export DAGSTER_HOME="$folder/home"
cat > "$folder/default.py" <<'PYTHON'
import os
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
PYTHON

# Prints whether a server that a script starts in the background is there still, 20 seconds after SIGTERM. $1: what stands before its arguments.
after_sigterm() {
    # shellcheck disable=SC2016
    sh -c '"$@" & echo $!' sh "$folder/venv/bin/python" "${@:2}" -m dagster api grpc -f "$folder/empty.py" --socket "$folder/$1.socket" > "$folder/$1.log" 2>&1
    pid=$(head -1 "$folder/$1.log")
    until grep -q "Started Dagster code server" "$folder/$1.log"; do sleep 1; done
    kill -TERM "$pid"
    for _ in $(seq 20); do
        if ! kill -0 "$pid" 2> /dev/null; then echo ended; return; fi
        sleep 1
    done
    kill -KILL "$pid"
    echo "there still"
}

as_it_is=$(after_sigterm ignored)
with_default=$(after_sigterm default "$folder/default.py")
echo "after SIGTERM: $as_it_is; with SIGINT's default before: $with_default"
[ "$as_it_is" = "there still" ] && [ "$with_default" = ended ]
