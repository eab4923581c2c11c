"""The contracts of all tables by name, in graph order, as the components declare them: what readers of tables ask."""

from __future__ import annotations

from collections.abc import Mapping

from curation_assets.contracts.tables import TableSchema
from curation_assets.registry import COMPONENTS

SCHEMAS: Mapping[str, TableSchema] = {c.asset: c.table for c in COMPONENTS}


def schema(asset: str) -> TableSchema:
    """The schema of `asset`; KeyError lists the assets that have one."""
    try:
        return SCHEMAS[asset]
    except KeyError:
        raise KeyError(f"no table is called {asset!r}; there are {', '.join(SCHEMAS)}") from None
