"""The workflow that moves failed items again, after the invitation has ended (TRF-1)."""

from temporalio import workflow
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.move import DataMoved, MoveActivities, RetryMove
    from domain.address import masked
    from domain.manifest import Manifest, with_running_items
    from workflows.options import MOVE


@workflow.defn(name="Move")
class MoveWorkflow:
    """One retry of the failed items of an ended invitation (TRF-1)."""

    @workflow.run
    async def run(self, retry: RetryMove) -> DataMoved:
        """Move the failed items once; an item that fails again stays failed."""
        move, now = retry.move, workflow.now()
        manifest = with_running_items(move.manifest, again=True)
        workflow.set_current_details(move_details(manifest))
        moved = await workflow.execute_activity_method(
            MoveActivities.move_data,
            move.model_copy(update={"manifest": manifest, "at": now, "give_up_at": now}),
            **MOVE | ActivityConfig(summary=f"Move the data of {masked(move.email)} again"),
        )
        workflow.set_current_details(move_details(moved.manifest))
        return moved


def move_details(manifest: Manifest) -> str:
    """Return the Markdown that the UI shows: the status of each item."""
    return "\n".join(
        f"- {entry.item}: {entry.status} ({entry.count}, {len(entry.changes)} changed)"
        for entry in manifest
    )
