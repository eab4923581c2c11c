"""What the UI shows of a judged subset: the funnel, distributions, and clips on either side of each threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation_assets.registry import COMPONENTS
from curation_assets.showing.clips import middle_frames
from curation_assets.showing.figures import distributions, markdown_table
from curation_assets.showing.sheets import Sheet, contact_sheet
from curation_resources.markdown import Markdown, escape
from curation_resources.media import MediaRef
from curation_resources.storage_errors import StorageError
from curation_resources.tables import MissingTable, TableStore

if TYPE_CHECKING:
    from curation_assets.publish.curating.curating import Curation

CHARTED = tuple(dict.fromkeys(name for c in COMPONENTS if c.candidates for name in c.charted))
"""Columns whose distributions and correlations are shown, as the components declare them, those of packages among them."""


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
        metadata["keep_rates"] = keep_rates(found)
    if (chosen := _selected_sheet(store, found)) is not None:
        metadata["selected"] = chosen
    for threshold, clips in found.examples.items():
        sheet = _threshold_sheet(store, clips)
        if sheet is not None:
            name = f"threshold {threshold.text}" + ("" if threshold.of_clip else " of the track")
            metadata[name] = sheet.saying(
                Markdown(f"**{escape(threshold.text)}**: those with + passed, those with - did not")
            )
    return metadata


def _known(sample: pa.Table) -> dict[str, np.ndarray]:
    columns = {c: sample[c].to_numpy(zero_copy_only=False).astype(float) for c in CHARTED if c in sample.column_names}
    return {c: v for c, v in columns.items() if np.isfinite(v).sum() > 1}


def _correlations(sample: pa.Table) -> Markdown | None:
    known = {c: v for c, v in _known(sample).items() if np.nanstd(v) > 0}
    names = list(known)

    def correlation(a: str, b: str) -> str:
        both = np.isfinite(known[a]) & np.isfinite(known[b])
        if both.sum() < 3 or known[a][both].std() == 0 or known[b][both].std() == 0:
            return ""
        return f"{np.corrcoef(known[a][both], known[b][both])[0, 1]:.2f}"

    return markdown_table(("", *names), [(a, *(correlation(a, b) for b in names)) for a in names])


def keep_rates(found: Curation) -> Markdown | None:
    """For each threshold of the rules, what it alone keeps of all candidates where it is (bold) and were it at a decile of its score."""
    rows = []
    for threshold in found.examples:
        sample = found.clip_sample if threshold.of_clip else found.sample
        if sample is None or threshold.column not in sample.column_names:
            continue
        values = threshold.values_in(sample)
        known = values[np.isfinite(values)]
        if not len(known):
            continue
        cuts = {f"{v:.4g}": v for v in (*np.quantile(known, np.linspace(0, 1, 11)), threshold.value)}
        for number, value in sorted(cuts.items(), key=lambda c: c[1]):
            text = escape(f"{threshold.column} {threshold.op} {number}")
            share = threshold.holds(values, at=value).mean()
            rows.append((Markdown(f"**{text}**" if value == threshold.value else text), f"{share:.1%}"))
    return markdown_table(("threshold", "share kept"), rows)


def _selected_sheet(store: TableStore, found: Curation) -> Sheet | None:
    """The first that were selected, with ids and splits."""
    pictures: list[tuple[bytes, str]] = []
    tables: dict[str, pa.Table] = {}
    for clip, (shard, split) in found.first.items():
        try:
            if shard not in tables:
                tables[shard] = store.read("frames", shard)
            row = middle_frames(tables[shard], [clip])[clip]
            data = store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
        except (MissingTable, StorageError, KeyError):
            continue
        pictures.append((data, f"{split} {clip}"))
    sheet = contact_sheet(pictures)
    return sheet.saying(Markdown("the first that are selected")) if sheet is not None else None


def _threshold_sheet(store: TableStore, clips: list[tuple[str, str, float, bool]]) -> Sheet | None:
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
            pictures.append((data, f"{'+' if passed else '-'} {value:.4g} {clip}"))
    return contact_sheet(pictures)
