"""What of a recipe and of a list's URLs may reach a table's metadata, and when a refused URL is asked again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.engine.shard import Shard
from curation_assets.ingest.fetch_urls import FORM, digest, publish_secrets
from curation_assets.recipes import Recipe
from curation_assets.registry import STAGES
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_resources import probe
from curation_resources.provenance import Provenance, canonical_json
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

RAW = next(s for s in STAGES if s.name == "raw_shards")


def recipe(proxy: str) -> Recipe:
    return Recipe.model_validate(
        {"dataset": "d", "source": {"format": "ids", "path": "x"}, "download": {"proxy": proxy}}
    )


def stored_metadata(tmp_path: Path, proxy: str) -> str:
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    provenance = Provenance("1", RAW.part("raw_shards").params(recipe(proxy)))
    store.commit("raw_shards", "d-00000", schema("raw_shards").empty(), provenance)
    return repr(pq.read_metadata(tmp_path / "raw_shards/d-00000.parquet").metadata)


def test_a_password_of_the_proxy_is_not_stored_and_a_reference_to_the_environment_is(tmp_path: Path) -> None:
    for proxy in ("http://me:hush@proxy:8080", "me:hush@proxy:8080"):
        text = stored_metadata(tmp_path, proxy)
        assert "hush" not in text
        assert "http://proxy:8080" in text
    assert "http://me:${HUSH}@proxy" not in stored_metadata(tmp_path, "http://me:${HUSH}@proxy")
    assert "http://${ME}:${HUSH}@proxy" in stored_metadata(tmp_path, "http://${ME}:${HUSH}@proxy")


def test_a_shard_with_refused_urls_is_made_again_once_they_are_signed_anew(tmp_path: Path) -> None:
    store = TableStore(Storage(str(tmp_path / "root")), SCHEMAS)
    shard = Shard("d-00000", recipe("http://proxy"), store, Settings(), None)

    def signed(token: str) -> dict[str, str]:
        urls = {"v": f"https://h/v.mp4?sig={token}"}
        pq.write_table(pa.table([["d-00000"], list(urls), list(urls.values())], schema=FORM), tmp_path / "d.parquet")
        publish_secrets(store.storage, "d", tmp_path / "d.parquet")
        return urls

    refused = {"refused_urls": digest(signed("old"))}
    headers = [
        store.commit("raw_shards", "d-00000", schema("raw_shards").empty(), Provenance("1"), stats)
        for stats in ({}, refused, {"transient": 1})
    ]
    assert [RAW.up_to_date(h, shard) for h in headers] == [True, True, False]
    signed("new")
    assert [RAW.up_to_date(h, shard) for h in headers] == [True, False, False]


def test_a_shard_with_media_that_an_older_probe_refused_is_made_again(tmp_path: Path) -> None:
    store = TableStore(Storage(str(tmp_path / "root")), SCHEMAS)
    shard = Shard("d-00000", recipe("http://proxy"), store, Settings(), None)
    stats: list[dict[str, Any]] = [{"errors": {"gone": 1}}, {"errors": {"corrupt": 1}}]
    headers = [
        store.commit("raw_shards", "d-00000", schema("raw_shards").empty(), Provenance("1"), found)
        for found in [*stats, *({**s, "probe": probe.VERSION} for s in stats)]
    ]
    assert [RAW.up_to_date(h, shard) for h in headers] == [True, False, True, True]


def test_a_secret_in_a_parameter_makes_no_table_stale() -> None:
    """Fingerprints of many tables are worked out at once; they must be those of the tables, whose parameters hide secrets."""
    params = RAW.part("raw_shards").params(recipe("http://me:hush@proxy:8080"))
    way = Provenance("1", params, {"video_metadata": ""}, {"w": "1"})
    one = Provenance("1", params, {"video_metadata": "ab12"}, {"w": "1"})
    assert way.fingerprinter()(one.inputs) == one.fingerprint
    assert way.fingerprints({"video_metadata": [b"ab12"]}) == [one.fingerprint]
    text = canonical_json([one.code_version, one.params, dict(one.inputs), dict(one.weights)])
    assert one.fingerprint == hashlib.sha256(text.encode()).hexdigest()[:32]
    two = Provenance("1", {"b": "\u00e9"}, {"b": "", 'a"': "01"}, {"%s": "w"})
    assert two.fingerprints({"b": [b"", b"2"], 'a"': [b"01", b"3"]})[0] == two.fingerprint
