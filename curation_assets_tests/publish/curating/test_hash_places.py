"""The compiled places of ids are those of the standard library's BLAKE2b."""

import random
import string

import numpy as np
import pyarrow as pa
import pytest

from curation_assets.publish.curating import places_of_ids
from curation_assets.publish.curating.criteria import hash_order
from curation_assets.publish.curating.hash_places import BLOCK, LANES, places


def ids(count: int) -> list[str]:
    """Ids of all lengths around those at which something changes, empty ones among them."""
    chance = random.Random(7)
    lengths = [0, 1, 5, 11, 60, BLOCK - 7, BLOCK - 6, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK]
    return ["".join(chance.choices(string.ascii_letters + "äß日", k=chance.choice(lengths))) for _ in range(count)]


@pytest.mark.parametrize("before", ["", "bench/", "x" * (BLOCK + 2)])
@pytest.mark.parametrize("seed", [0, 7, -3, 10**12])
def test_compiled_places_are_those_of_the_standard_library(before: str, seed: int) -> None:
    some = ids(3 * LANES + 5)
    assert np.array_equal(places(pa.array(some), seed, before), hash_order(some, seed, before))
    assert np.array_equal(places(pa.array(some)[3:77], seed, before), hash_order(some[3:77], seed, before))
    assert not len(places(pa.array([], pa.string()), seed, before))


def test_places_stay_the_same_where_there_come_many(monkeypatch: pytest.MonkeyPatch) -> None:
    some = ids(500)
    monkeypatch.setattr(places_of_ids, "COMPILED_FROM", 250)
    parts = places_of_ids.PlacesOfIds(5)
    found = [parts.of(pa.chunked_array([some[i : i + 60], some[i + 60 : i + 100]]), "d/") for i in range(0, 500, 100)]
    assert np.array_equal(np.concatenate(found), hash_order(some, 5, "d/"))
