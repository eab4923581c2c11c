"""Storage roots stay fresh: what tables by shard are made from has the fingerprints that an earlier commit gave them.

`fingerprints.json` was written by commit 3e7a77c: for each recipe and table, the fingerprint of code version 0, the table's parameters and inputs
whose content hash is the first 32 digits of the SHA-256 of their name. Code versions are left out, since they are raised on purpose. Where a
key is added that changes this, give it a default that leaves old tables as they are, as `_params` of captions does; else say in the file's
history why tables are made again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from curation_assets.engine.staleness import SHARDED
from curation_assets.recipes import parse_recipe
from curation_assets.rules.columns import inputs_of
from curation_resources.provenance import Provenance

KEPT = json.loads(Path(__file__).with_name("fingerprints.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", KEPT["recipes"])
def test_tables_of_before_are_what_would_be_made_now(name: str) -> None:
    recipe = parse_recipe(KEPT["recipes"][name], f"{name}.yaml")
    for asset, component in SHARDED.items():
        if f"{name} {asset}" in KEPT["fingerprints"]:  # tables that came later have none to keep
            inputs = [*inputs_of(component, recipe), *component.slices]
            hashes = {a: hashlib.sha256(a.encode()).hexdigest()[:32] for a in inputs}
            now = Provenance("0", component.params(recipe), hashes)
            assert now.fingerprint == KEPT["fingerprints"][f"{name} {asset}"], asset
    assert {f"{name} {a}" for a in SHARDED} >= {k for k in KEPT["fingerprints"] if k.startswith(f"{name} ")}
