"""Step `requests`: what a shard asks of S3, counted at a server (moto): eight tables made, found up to date, and the clusters looked up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.scale.rows import Counted, Line
from curation_assets.demo.videos import few_samples, write_videos
from curation_assets.engine.plan import PlanStep
from curation_assets.engine.run import Run
from curation_assets.engine.steps import StepFailed, carry_out
from curation_assets.makers import MAKERS
from curation_assets.recipes import parse_recipe
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

SHARDS = 33_000
EIGHT = (
    "video_metadata", "raw_shards", "clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints", "audio_scores",
)  # fmt: skip


def requests(folder: Path, share: float) -> Iterator[Line]:
    """What three shards ask more than one, a half of it each: so what a run asks once does not count. The share says nothing here."""
    import boto3
    from moto.server import ThreadedMotoServer
    from werkzeug.serving import WSGIRequestHandler

    write_videos(folder / "videos", few_samples())
    seen: list[str] = []
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with ExitStack() as stack:
        stack.enter_context(patch.object(WSGIRequestHandler, "log_request", lambda *_: seen.append("")))
        server.start()
        stack.callback(server.stop)
        host, port = server.get_host_and_port()
        client: dict[str, Any] = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        boto3.client("s3", **client, **keys).create_bucket(Bucket="bench")
        options = {"key": "testing", "secret": "testing", "client_kwargs": client}
        store = TableStore(Storage("s3://bench", options), SCHEMAS)
        text = f"dataset: d\nsource: {{format: folder, path: {folder / 'videos'}}}\nshard: {{videos: 1}}\nclips: {{detector: content}}\n"
        run_of = (store, {"d": parse_recipe(text, "recipe")}, Settings(storage="s3://bench", workers=1))

        def asked(assets: tuple[str, ...], *shards: str) -> int:
            seen.clear()
            run = Run(*run_of, logging.getLogger("bench"))
            failed = [e for e in carry_out([PlanStep("x", assets, shards)], run, MAKERS) if isinstance(e, StepFailed)]
            if failed:
                raise SystemExit(f"{failed[0].assets}: {failed[0].error}")
            return len(seen)

        asked(("dataset_index",))
        one, others = ("d-00000",), ("d-00001", "d-00002", "d-00003")
        for what in ("eight tables made", "eight tables found up to date"):
            alone = asked(EIGHT, *one)
            yield Counted(f"a shard, {what}", 2, SHARDS, asked(EIGHT, *others) - alone, "requests")
        asked(("duplicate_clusters",))
        for what in ("dedup made", "dedup found up to date"):
            alone = asked(("dedup",), *one)
            yield Counted(f"a shard, {what}", 2, SHARDS, asked(("dedup",), *others) - alone, "requests")
