"""Data that could not be moved at the time, moved again when somebody asks for it."""

from temporalio import workflow
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.invitation import InvitationActivities, RecordInvitation
    from activities.move import DataMoved, MoveActivities, MoveAgain
    from domain.address import masked
    from domain.manifest import Manifest, with_running_items
    from workflows.options import MOVE, mail


@workflow.defn(name="Move")
class MoveWorkflow:
    """One pass over what was given up, for an invitation that is over (TRF-1)."""

    @workflow.run
    async def run(self, again: MoveAgain) -> DataMoved:
        """Move what has failed, once; what fails again is given up again."""
        order, now = again.move, workflow.now()
        manifest = with_running_items(order.manifest, again=True)
        workflow.set_current_details(move_details(manifest))
        moved = await workflow.execute_activity_method(
            MoveActivities.move_data,
            order.model_copy(update={"manifest": manifest, "at": now, "give_up_at": now}),
            **MOVE | ActivityConfig(summary=f"Move the data of {masked(order.email)} again"),
        )
        workflow.set_current_details(move_details(moved.manifest))
        if again.closed:
            await self._tell(again.closed, moved.manifest)
        return moved

    async def _tell(self, closed: RecordInvitation, manifest: Manifest) -> None:
        invitation = closed.invitation.model_copy(update={"manifest": manifest})
        await workflow.execute_activity_method(
            InvitationActivities.tell_about_invitation,
            closed.model_copy(update={"invitation": invitation}),
            **mail(f"Tell {masked(invitation.email)} what has moved"),
        )


def move_details(manifest: Manifest) -> str:
    """What an operations person reads in the UI of how far it has come, in Markdown."""
    return "\n".join(
        f"- {entry.item}: {entry.status} ({entry.count}, {len(entry.changes)} changed)"
        for entry in manifest
    )
