"""A sensor that tells a chat or a pager of runs that failed, by one HTTP request each.

What belongs here: the notice. What does not: which failures deserve one; whoever switches the sensor on gets all of them.
"""

from __future__ import annotations

from typing import Any

import httpx
from dagster import DefaultSensorStatus, RunFailureSensorContext, SensorDefinition, run_failure_sensor

from curation_assets.settings import Settings

TIMEOUT_S = 10.0
LONGEST = 2000
"""Characters of a notice; chats cut or refuse longer ones."""


def failure_notices(settings: Settings) -> SensorDefinition:
    """The sensor `failure_notices`, stopped. Where no webhook is set its ticks say so."""

    @run_failure_sensor(
        name="failure_notices",
        default_status=DefaultSensorStatus.STOPPED,
        description="Posts each run that failed to CURATION_WEBHOOK, as JSON with `text`, which Slack, Mattermost and others take.",
        monitor_all_code_locations=False,
    )
    def notices(context: RunFailureSensorContext) -> None:
        if not settings.webhook:
            context.log.warning("CURATION_WEBHOOK is not set; nobody was told")
            return
        send(settings.webhook, notice(context))

    return notices


def notice(context: RunFailureSensorContext) -> dict[str, Any]:
    """What is posted: `text` for people, the rest for programs."""
    run = context.dagster_run
    steps = {}
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        said = data.user_failure_data.description if data.user_failure_data else None
        steps[event.step_key or ""] = (said or (data.error.message if data.error else "failed")).strip()
    partition = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start", "")
    lines = [f"curation: run {run.run_id[:8]} failed" + (f" for {partition}" if partition else "")]
    lines += [f"{step}: {why}" for step, why in steps.items()] or [
        context.failure_event.message or "it ended outside a step"
    ]
    return {"text": "\n".join(lines)[:LONGEST], "run_id": run.run_id, "partition": partition, "steps": steps}


def send(url: str, message: dict[str, Any]) -> None:
    """Posts a notice.

    Raises:
        httpx.HTTPError: it was not taken; the tick fails and says so, without the address, which often holds a secret.
    """
    try:
        httpx.post(url, json=message, timeout=TIMEOUT_S).raise_for_status()
    except httpx.HTTPStatusError as error:
        raise httpx.HTTPError(f"the webhook answered {error.response.status_code}") from None
    except httpx.HTTPError as error:
        raise httpx.HTTPError(f"the webhook could not be reached: {type(error).__name__}") from None
