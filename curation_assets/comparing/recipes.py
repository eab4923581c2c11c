"""Two recipes of one dataset held against each other: what each of their subsets selects of the clips and tracks that are there.

Nothing is made: both judge the tables as they stand, into a scratch folder. What other stages would make otherwise is `curation diff`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from curation_assets.publish.curating.curating import curate
from curation_assets.publish.curating.subset_inputs import subset_shards
from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import JUDGED
from curation_resources.provenance import Provenance
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.tables import TableStore


@contextmanager
def judged(
    store: TableStore, pair: tuple[Recipe, Recipe], others: Mapping[str, Recipe]
) -> Iterator[tuple[TableStore, TableStore]]:
    """Two stores with the tables in which the subsets of each recipe judge what `store` has; they go at the end of the block.

    Args:
        pair: two recipes of one dataset.
        others: recipes of further datasets, on which subsets may draw.

    Raises:
        RuleError: a rule names a column that no table has.
        ValueError: as `curate`.
    """
    with scratch_folder("compare-") as folder:
        made = []
        for side, recipe in zip("ab", pair, strict=True):
            own = TableStore(Storage(str(Path(folder) / side)), store.contracts)
            at_hand = {**others, recipe.dataset: recipe}
            for name, subset in recipe.subsets.items():
                work = Path(folder) / f"{side}-{name}"
                work.mkdir()
                key, asset = subset_key(recipe.dataset, name), JUDGED[subset.of]
                shards = subset_shards(store, subset, recipe.dataset)
                found = curate(key, subset, at_hand, shards, store.read, work)
                assert found.parts is not None
                own.commit_written(asset, key, found.path, Provenance(side), found.parts)
            made.append(own)
        yield made[0], made[1]
