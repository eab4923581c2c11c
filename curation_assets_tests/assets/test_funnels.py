"""What the UI shows of a subset: the share that other thresholds would keep, in the direction in which the rule goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation_assets.publish.curating.curating import Curation
from curation_assets.publish.curating.funnels import keep_rates
from curation_assets_tests.publish.curating.test_curating import Row, Store, run


def rates(found: Curation) -> dict[str, str]:
    """Threshold -> share, as the table has them; the header and the line below it are left out."""
    shown = keep_rates(found)
    assert shown is not None
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in str(shown).splitlines()]
    assert lines[0] == ["threshold", "share kept"]
    return dict(lines[2:])


@pytest.fixture
def store() -> Store:
    """A hundred clips whose motion is 0 to 99/128, exact in binary, and a hundred without any."""
    made = Store()
    clips: list[Row] = [{"clip_id": f"v{i:03d}_1", "motion": i / 128 if i < 100 else None} for i in range(200)]
    made.clips("d-00000", clips[::2])
    made.clips("d-00001", clips[1::2])
    return made


@pytest.mark.parametrize(
    ("rule", "op", "kept"),
    [
        ("motion >= 0.25", ">=", np.greater_equal),
        ("motion > 0.25", ">", np.greater),
        ("motion < 0.25", "<", np.less),
        ("motion <= 0.25", "<=", np.less_equal),
        ("0.25 >= motion", "<=", np.less_equal),
    ],
)
def test_shares_are_what_the_rule_would_keep(store: Store, tmp_path: Path, rule: str, op: str, kept: np.ufunc) -> None:
    found, rows = run(store, tmp_path, {"where": [rule]})
    shown = rates(found)
    values = np.arange(100) / 128
    share = kept(values, 0.25).sum() / 200
    assert shown[f"**motion {op} 0.25**"] == f"{share:.1%}"
    assert sum(r["selected"] for r in rows) == round(200 * share), "what the rule does keep"
    others = {text: s for text, s in shown.items() if not text.startswith("*")}
    deciles = np.quantile(values, np.arange(11) / 10)
    assert others == {f"motion {op} {d:.4g}": f"{kept(values, d).sum() / 200:.1%}" for d in deciles}, "of all clips"


@pytest.mark.parametrize(("op", "kept"), [(">", 0), (">=", 4), ("<", 0), ("<=", 4)])
def test_a_score_stored_in_single_precision_is_measured_as_the_rule_judges_it(
    tmp_path: Path, op: str, kept: int
) -> None:
    store = Store()
    store.clips("d-00000", [{"clip_id": f"v{i}_1", "motion": 0.2} for i in range(4)])
    found, rows = run(store, tmp_path, {"where": [f"motion {op} 0.2"]})
    assert sum(r["selected"] for r in rows) == kept
    assert rates(found)[f"**motion {op} 0.2**"] == f"{kept / 4:.1%}"
    (examples,) = found.examples.values()
    assert {passed for *_, passed in examples} == {kept > 0}


def test_each_end_of_a_range_has_its_own_direction_and_percentiles_their_values(store: Store, tmp_path: Path) -> None:
    found, _ = run(store, tmp_path, {"where": ["motion between 0.25 and p90"]})
    shown = rates(found)
    assert (shown["**motion >= 0.25**"], shown["**motion <= 0.6961**"]) == ("34.0%", "45.0%")
    assert (shown["motion >= 0.7734"], shown["motion <= 0.7734"]) == ("0.5%", "50.0%")
    assert sum("<=" in text for text in shown) == 11, "the threshold is one of the deciles"
    assert found.funnel[1].rule == "motion between 0.25 and p90 (= 0.6961)"


def test_a_rule_about_clips_is_not_measured_against_the_tracks_column_of_that_name(tmp_path: Path) -> None:
    store = Store()
    store.clips("d-00000", [{"clip_id": f"v{i}_1", "motion": i / 10, "end_ms": 9000} for i in range(10)])
    names = {"label": "cat", "start_ms": 0, "end_ms": 4000, "embedding": None}
    store.put(
        "tracks",
        "d-00000",
        [
            {**names, "video_id": f"v{i}", "clip_id": f"v{i}_1", "track_id": f"v{i}_1_0", "motion": 5.0}
            for i in range(10)
        ],
    )
    found, _ = run(store, tmp_path, {"of": "tracks", "where": ["motion < 0.5"], "where_tracks": ["motion < 0.5"]})
    clips, tracks = found.examples
    assert (clips.of_clip, tracks.of_clip) == (True, False)
    assert [len(c) for c in found.examples.values()] == [10, 5], "of tracks those that the first rule let by"
    shown = keep_rates(found)
    assert shown is not None
    assert "| **motion < 0.5** | 50.0% |" in str(shown)
    assert "| **motion < 0.5** | 0.0% |" in str(shown)
