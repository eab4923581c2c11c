"""What keeps the assets of group publish from being made over incomplete inputs, wherever the run comes from: command, UI, sensor or schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagster import AssetExecutionContext, Failure, MetadataValue, OpExecutionContext

from curation_resources.markdown import escape

PARTIAL_TAG = "curation/partial"
"""Tag of a run that may publish over incomplete inputs."""


class Incomplete(RuntimeError):
    """A subset whose inputs are not complete; the message is one sentence that says which, and what to do."""


def may_be_partial(context: AssetExecutionContext | OpExecutionContext) -> bool:
    return context.run.tags.get(PARTIAL_TAG, "").lower() == "true"


def lacks(context: AssetExecutionContext | OpExecutionContext, key: str, asset: str) -> list[str]:
    """What `asset` of a subset would be made without, a line each; empty if all of its inputs are complete and fresh.

    Raises:
        Incomplete: something, and neither the run nor the recipe allows it.
    """
    from curation_assets.engine.completeness import left_out  # it looks at all assets, of which this is one

    resources = context.resources
    return left_out(resources.tables, resources.recipes, resources.settings, key, asset, may_be_partial(context))


def refuse(sentences: Sequence[str]) -> None:
    """Fails the step, not to be tried again, if there is anything to say."""
    if sentences:
        raise Failure("\n".join(sentences), allow_retries=False)


def shown_lacking(lines: Sequence[str]) -> dict[str, Any]:
    """What the UI shows of something that was published without something."""
    return {"left_out": MetadataValue.md("\n".join(f"- {escape(line)}" for line in lines))} if lines else {}
