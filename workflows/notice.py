"""Telling people what has happened, however long the mail server takes."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.assignment import AssignmentActivities, TellHolders
    from activities.invitation import InvitationActivities, RecordInvitation
    from activities.order import OrderActivities, TellBuyer
    from activities.refund import RefundActivities, TellPayee
    from domain.address import masked
    from workflows.options import mail


@workflow.defn(name="Notice")
class NoticeWorkflow:
    """Outlives the invitation, whose id is free for a new one at once (INV-8)."""

    @workflow.run
    async def run(self, order: RecordInvitation) -> None:
        """Send what has to be said."""
        await workflow.execute_activity_method(
            InvitationActivities.tell_about_invitation,
            order,
            **mail(f"Tell that {masked(order.invite.email)} is {order.invitation.state}"),
        )


@workflow.defn(name="RefundNotice")
class RefundNoticeWorkflow:
    """Nothing that moves money waits for an e-mail."""

    @workflow.run
    async def run(self, order: TellPayee) -> None:
        """Send what has to be said."""
        await workflow.execute_activity_method(
            RefundActivities.tell_payee,
            order,
            **mail(f"Tell {masked(order.order.payee)}: refund {order.refund.state}"),
        )


@workflow.defn(name="OrderNotice")
class OrderNoticeWorkflow:
    """No purchase waits for an e-mail."""

    @workflow.run
    async def run(self, order: TellBuyer) -> None:
        """Send what has to be said."""
        await workflow.execute_activity_method(
            OrderActivities.tell_buyer,
            order,
            **mail(f"Tell {masked(order.order.bought_by)}: order {order.order.state}"),
        )


@workflow.defn(name="LicenseNotice")
class LicenseNoticeWorkflow:
    """No license waits for an e-mail."""

    @workflow.run
    async def run(self, order: TellHolders) -> None:
        """Send what has to be said."""
        await workflow.execute_activity_method(
            AssignmentActivities.tell_holders,
            order,
            **mail(f"Tell {len(order.results)} users of {order.account}"),
        )
