#!/usr/bin/env bash
# dagster 1.13.27 and dagster-postgres 0.29.27 on a PostgreSQL server of the machine (Debian: apt-get install postgresql). 2026-11-29.
# Guess: EventLogStorage.initialize_concurrency_limit_to_default may be called again for a pool that has its default limit already, by two
# runs that start at once for one; it catches the IntegrityError of its INSERT and goes on with an UPDATE.
# Behaviour: on SQLite it may. On PostgreSQL the refused INSERT has ended the transaction in which the UPDATE follows, and the call ends in
# InFailedSqlTransaction: of two runs that first use a pool at the same moment one dies outside any step; and after
# concurrency.pools.default_limit was changed in dagster.yaml, every claim of a slot does.
# Exits with 0 as long as it is so.
set -euo pipefail
bin=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -1 || true)
export PATH="$PATH${bin:+:$bin}"
command -v initdb pg_ctl > /dev/null || { echo "PostgreSQL's server programs are not installed"; exit 2; }
folder=$(mktemp -d)
as=()
if [ "$(id -u)" = 0 ]; then # as whom PostgreSQL refuses to run
  as=(runuser -u nobody --)
  chown nobody "$folder"
fi
trap '"${as[@]}" pg_ctl -D "$folder/data" -m immediate stop > /dev/null 2>&1 || true; rm -rf "$folder"' EXIT
cd "$folder"
"${as[@]}" initdb -D "$folder/data" -U dagster -A trust --no-sync > /dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${as[@]}" pg_ctl -D "$folder/data" -w -o "-h 127.0.0.1 -p $port -k $folder" -l "$folder/log" start > /dev/null
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'dagster==1.13.27' 'dagster-postgres==0.29.27' 'psycopg2-binary==2.9.11' 'sqlalchemy==2.0.44'
mkdir "$folder/home"
cat > "$folder/home/dagster.yaml" <<YAML
telemetry: {enabled: false}
concurrency: {pools: {default_limit: 3}}
storage:
  postgres:
    postgres_db: {hostname: 127.0.0.1, port: $port, username: dagster, password: none, db_name: postgres}
YAML
cat > "$folder/twice.py" <<'PYTHON'
import sys

from dagster import DagsterInstance

with DagsterInstance.get() as instance:
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default("p")
    try:
        storage.initialize_concurrency_limit_to_default("p")
    except Exception as error:  # noqa: BLE001
        print(f"the second call: {type(error).__name__}: {str(error).splitlines()[0]}")
        sys.exit(0 if "aborted" in str(error) else "another error than described")
sys.exit("the behaviour has changed: the second call is harmless")
PYTHON
DAGSTER_HOME=$folder/home "$folder/venv/bin/python" "$folder/twice.py"
