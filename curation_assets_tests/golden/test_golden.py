"""The golden tables: that they are what the graph says, and that what moved is seen."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation_assets_tests.golden.making import SETS, TABLES, kept, make, moved, said
from curation_assets_tests.shared_data import shared


@pytest.mark.golden
@pytest.mark.parametrize("name", SETS)
def test_the_graph_says_of_the_golden_videos_what_it_said(name: str, tmp_path: Path) -> None:
    if name == "shared":
        for file in SETS[name][1]:
            shared(f"videos/{file}")
    found = moved(name, make(tmp_path, name))
    assert not found, said(name, found)


@pytest.mark.parametrize("name", SETS)
def test_what_moves_is_seen_and_what_rounds_otherwise_is_not(name: str) -> None:
    tables = {asset: kept(name, asset) for asset in TABLES}
    assert moved(name, tables) == {}
    scores = tables["motion_scores"]
    at = scores.column_names.index("motion")

    def times(factor: float) -> dict[str, pa.Table]:
        return tables | {"motion_scores": scores.set_column(at, "motion", pc.multiply(scores["motion"], factor))}

    assert moved(name, times(1.01)) == {}
    found = moved(name, times(1.03))
    assert found.keys() == {"motion_scores"}
    known = [v for v in scores["motion"].to_pylist() if v]
    assert known
    assert found["motion_scores"].changed == len(known)
    assert "motion_scores.motion of" in said(name, found)
    lost = moved(name, tables | {"clips": tables["clips"].slice(1)})
    assert (lost["clips"].vanished, lost["clips"].appeared) == (1, 0)
