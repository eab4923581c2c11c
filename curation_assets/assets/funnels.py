"""What the UI shows of a judged subset: the funnel, distributions, and clips on either side of each threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from dagster import MetadataValue

from curation_assets.assets.pictures import middle_frames
from curation_assets.metadata import contact_sheet, distributions, markdown_table
from curation_assets.stages.rules import parse_rule
from resources.storage import MediaRef, StorageError
from resources.tables import MissingTable, TableStore

if TYPE_CHECKING:
    from curation_assets.stages.curate import Curation

SCORES = ("motion", "sharpness", "brightness", "text_area", "loudness", "aesthetic", "match", "border")
"""Columns whose distributions and correlations are shown."""


def figures(found: Curation) -> dict[str, Any]:
    """Numbers kept with the curated table."""
    first, last = found.funnel[0], found.funnel[-1]
    return {
        "candidates": first.rows,
        "selected": last.rows,
        "yield": round(last.rows / first.rows, 4) if first.rows else 1.0,
        "hours": round(last.hours, 4),
        "splits": found.splits,
        "funnel": [[s.rule, s.rows, round(s.hours, 5)] for s in found.funnel],
        "report": found.report,
        "missing_shards": found.missing,
    }


def shown(store: TableStore, found: Curation) -> dict[str, Any]:
    """Funnel, report, curves, correlations and pictures beside the thresholds."""
    rows = [(s.rule, s.rows, f"{s.hours:.3f}", f"{s.rows / max(1, found.funnel[0].rows):.1%}") for s in found.funnel]
    metadata: dict[str, Any] = {"funnel_table": markdown_table(("after", "rows", "hours", "share"), rows)}
    if found.missing:
        metadata["missing"] = markdown_table(("shard left out", "reason"), list(found.missing.items())[:20])
    if found.sample is not None and found.sample.num_rows:
        metadata["distributions"] = distributions(_known(found.sample), "score")
        metadata["correlations"] = _correlations(found.sample)
        metadata["keep_rates"] = _keep_rates(found.sample, list(found.examples))
    for rule, clips in found.examples.items():
        sheet = _threshold_sheet(store, clips)
        if sheet is not None:
            metadata[f"threshold {rule}"] = MetadataValue.md(
                f"**{rule}**: above the line passed, below it did not\n\n{sheet.value}"
            )
    return metadata


def _known(sample: pa.Table) -> dict[str, np.ndarray]:
    columns = {c: sample[c].to_numpy(zero_copy_only=False).astype(float) for c in SCORES if c in sample.column_names}
    return {c: v for c, v in columns.items() if np.isfinite(v).sum() > 1}


def _correlations(sample: pa.Table) -> MetadataValue | None:
    known = {c: v for c, v in _known(sample).items() if np.nanstd(v) > 0}
    names = list(known)

    def correlation(a: str, b: str) -> str:
        both = np.isfinite(known[a]) & np.isfinite(known[b])
        if both.sum() < 3 or known[a][both].std() == 0 or known[b][both].std() == 0:
            return ""
        return f"{np.corrcoef(known[a][both], known[b][both])[0, 1]:.2f}"

    return markdown_table(("", *names), [(a, *(correlation(a, b) for b in names)) for a in names])


def _keep_rates(sample: pa.Table, rules: list[str]) -> MetadataValue | None:
    """For each rule with a threshold: the share of candidates at or above the deciles of its score."""
    rows = []
    for rule in rules:
        (column,) = parse_rule(rule).columns
        if column not in sample.column_names:
            continue
        values = sample[column].drop_null().to_numpy(zero_copy_only=False).astype(float)
        if not len(values):
            continue
        cuts = np.unique(np.quantile(values, np.linspace(0, 1, 11)))
        rows += [(column, f"{cut:.4g}", f"{(values >= cut).mean():.1%}") for cut in cuts]
    return markdown_table(("score", "at least", "share kept"), rows)


def _threshold_sheet(store: TableStore, clips: list[tuple[str, str, float, bool]]) -> MetadataValue | None:
    pictures = []
    for side in (True, False):
        for clip, shard, value, passed in clips:
            if passed != side:
                continue
            try:
                row = middle_frames(store.read("frames", shard), [clip])[clip]
                data = store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
            except (MissingTable, StorageError, KeyError):
                continue
            pictures.append((data, f"{'+' if passed else '-'} {value:.4g}"))
    return contact_sheet(pictures)
