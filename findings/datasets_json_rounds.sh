#!/usr/bin/env bash
# Versions: datasets 5.2.0. Date: 2026-11-29.
# Guess: what json.loads gives comes back from a `Json` feature, which is there for JSON of varying fields.
# Behaviour: floats are rounded to ten decimals, without a word; small numbers lose all their digits.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0
cat > try.py <<'PY'
import datasets

features = datasets.Features({"json": datasets.Json()})
record = {"score": 4.285714149475098, "tiny": 1.5e-11, "whole": 3}
print(datasets.Dataset.from_dict({"json": [record]}, features=features)[0]["json"])
PY
HF_HUB_OFFLINE=1 env/bin/python try.py | tee seen.txt
diff seen.txt - <<'END'
{'score': 4.2857141495, 'tiny': 0.0, 'whole': 3}
END
