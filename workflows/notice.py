"""Telling people how an invitation ended, however long the mail server takes."""

from temporalio import workflow
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.invitation import InvitationActivities, RecordInvitation
    from domain.address import masked
    from workflows.options import MAIL


@workflow.defn(name="Notice")
class NoticeWorkflow:
    """Outlives the invitation, whose id is free for a new one at once (INV-8)."""

    @workflow.run
    async def run(self, order: RecordInvitation) -> None:
        """Send what has to be said."""
        await workflow.execute_activity_method(
            InvitationActivities.close_invitation,
            order,
            **MAIL
            | ActivityConfig(
                summary=f"Tell that {masked(order.invite.email)} is {order.invitation.state}"
            ),
        )
