"""A small dataset with everything that leaves files in storage, and pairs of commands that run at once.

What belongs here: the dataset, and what must hold of a root after a fault. What does not: the faults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_assets.recipes import load_recipes
from curation_assets.schemas import SCHEMAS
from curation_assets.verify import DAMAGE, Discrepancy, Verifier
from curation_assets_tests.faults.shipped import Shipped
from curation_assets_tests.sample_video import sample_video
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

RECIPE = """
dataset: pair
source: {{format: folder, path: {root}/videos}}
shard: {{videos: 3}}
download: {{store: copy}}
clips: {{from: detect, detector: content, min_s: 0.4}}
subsets:
  hq:
    where: [keep]
    export: {{clips: {{format: webdataset}}}}
"""


def small_dataset(root: Path, videos: int = 3, **options: Any) -> Shipped:
    """An installation with a recipe `pair` over tiny videos that are copied into tars, decoded and exported."""
    place = Shipped(root, **options)
    folder = root / "videos"
    folder.mkdir()
    for i in range(videos):
        (folder / f"v{i}.mp4").write_bytes(sample_video(seconds=1.5, seed=i))
    place.declare("pair", RECIPE.format(root=root))
    return place


def other_machine(place: Shipped) -> Shipped:
    """The same recipe and storage root with an instance of its own, as on another machine: no pool keeps the two from working at once."""
    twin = Shipped(place.root / "other", storage=place.data, instance=place.instance, environment=place.environment)
    twin.declare("pair", (place.root / "recipes/pair.yaml").read_text())
    return twin


def run(place: Shipped, *more: str) -> Any:
    """The recipe's run, as a process that goes on."""
    return place.start(["run", str(place.root / "recipes/pair.yaml"), *more])


def contents(storage: Storage) -> dict[str, str]:
    """Table -> content hash of every table of a root."""
    store = TableStore(storage, SCHEMAS)
    found = {}
    for path in storage.find(""):
        parts = path.split("/")
        if path.endswith(".parquet") and parts[0].removesuffix(".parquet") in SCHEMAS and len(parts) <= 2:
            key = parts[1].removesuffix(".parquet") if len(parts) == 2 else None
            header = store.header(parts[0].removesuffix(".parquet"), key)
            assert header is not None
            found[path] = header.content_hash
    return found


def faults(place: Shipped, storage: Storage) -> list[Discrepancy]:
    """What `curation verify --deep` finds."""
    recipes = load_recipes(str(place.root / "recipes/pair.yaml"))
    return list(Verifier(TableStore(storage, SCHEMAS), recipes, deep=True).faults())


def damage(place: Shipped, storage: Storage) -> list[Discrepancy]:
    """What is damaged, not only left over."""
    return [f for f in faults(place, storage) if f.kind == DAMAGE]
