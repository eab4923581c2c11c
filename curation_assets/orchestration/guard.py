"""What keeps the assets of group publish from being made over incomplete inputs, wherever the run comes from: command, UI, sensor or schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagster import AssetExecutionContext, Failure, OpExecutionContext

from curation_assets.engine.completeness import left_out
from curation_assets.engine.run_tags import PARTIAL_TAG
from curation_resources.markdown import Markdown, escape


def may_be_partial(context: AssetExecutionContext | OpExecutionContext) -> bool:
    return context.run.tags.get(PARTIAL_TAG, "").lower() == "true"


def lacks(context: AssetExecutionContext | OpExecutionContext, key: str, asset: str) -> list[str]:
    """What `asset` of a subset would be made without, a line each; empty if all of its inputs are complete and fresh.

    Raises:
        Incomplete: something, and neither the run nor the recipe allows it.
    """
    resources = context.resources
    return left_out(resources.tables, resources.recipes, resources.settings, key, asset, may_be_partial(context))


def refuse(sentences: Sequence[str]) -> None:
    """Fails the step, not to be tried again, if there is anything to say."""
    if sentences:
        raise Failure("\n".join(sentences), allow_retries=False)


def shown_lacking(lines: Sequence[str]) -> dict[str, Any]:
    """What the UI shows of something that was published without something."""
    return {"left_out": Markdown("\n".join(f"- {escape(line)}" for line in lines))} if lines else {}
