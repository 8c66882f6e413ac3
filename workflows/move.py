"""The move of a person's data to the joined account, and its retry after the end (TRF-1)."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.move import DataMoved, FailItems, MoveActivities, MoveData, RetryMove
    from domain.address import masked
    from domain.manifest import ItemStatus, Manifest
    from workflows.options import STORE, move


@workflow.defn(name="Move")
class MoveWorkflow:
    """One retry of the failed items of an ended invitation (TRF-1).

    The items are failed until they have moved, so whatever ends this workflow loses nothing.
    """

    @workflow.run
    async def run(self, retry: RetryMove) -> DataMoved:
        """Move the failed items once; an item that fails again stays failed."""
        request, now = retry.move, workflow.now()
        workflow.set_current_details(move_details(running(request.items)))
        moved = await move_items(
            request.model_copy(update={"at": now, "give_up_at": now}),
            f"Move the data of {masked(request.email)} again",
        )
        workflow.set_current_details(move_details(moved.manifest))
        return moved


async def move_items(request: MoveData, summary: str) -> DataMoved:
    """Move the items; return the stored manifest.

    If the activity ends without a result, whatever the cause, the items that have not moved are
    failed (TRF-1). Without a limit they stay unfinished, for the next move.
    """
    limit = request.give_up_at
    retried_for = limit - request.at if limit else timedelta(0)
    try:
        return await workflow.execute_activity_method(
            MoveActivities.move_data, request, **move(summary, retried_for)
        )
    except ActivityError:
        return await workflow.execute_activity_method(
            MoveActivities.fail_items,
            FailItems(invitation_id=request.invitation_id, items=request.items if limit else ()),
            **STORE | ActivityConfig(summary="Record the items that were not moved"),
        )


def running(items: Manifest) -> Manifest:
    """Return the items as running."""
    return tuple(item.with_status(ItemStatus.RUNNING) for item in items)


def move_details(manifest: Manifest) -> str:
    """Return the Markdown that the UI shows: the status of each item."""
    return "\n".join(
        f"- {entry.item}: {entry.status} ({entry.count}, {entry.changed} changed)"
        for entry in manifest
    )
