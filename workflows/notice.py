"""Telling people what has happened, however long the mail server takes."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.assignment import AssignmentActivities, NotifyHolders
    from activities.invitation import InvitationActivities, RecordInvitation
    from activities.order import NotifyBuyer, OrderActivities
    from activities.refund import NotifyPayee, RefundActivities
    from domain.address import masked
    from workflows.options import mail


@workflow.defn(name="Notice")
class NoticeWorkflow:
    """Outlives the invitation, whose id is free for a new one at once (INV-8)."""

    @workflow.run
    async def run(self, order: RecordInvitation) -> None:
        """Send what has to be said."""
        await workflow.execute_activity_method(
            InvitationActivities.notify_parties,
            order,
            **mail(f"Tell that {masked(order.invite.email)} is {order.invitation.state}"),
        )


@workflow.defn(name="RefundNotice")
class RefundNoticeWorkflow:
    """Nothing that moves money waits for an e-mail."""

    @workflow.run
    async def run(self, order: NotifyPayee) -> None:
        """Send what has to be said."""
        await workflow.execute_activity_method(
            RefundActivities.notify_payee,
            order,
            **mail(f"Tell {masked(order.order.payee)}: refund {order.refund.state}"),
        )


@workflow.defn(name="OrderNotice")
class OrderNoticeWorkflow:
    """No purchase waits for an e-mail."""

    @workflow.run
    async def run(self, order: NotifyBuyer) -> None:
        """Send what has to be said."""
        await workflow.execute_activity_method(
            OrderActivities.notify_buyer,
            order,
            **mail(f"Tell {masked(order.order.bought_by)}: order {order.order.state}"),
        )


@workflow.defn(name="LicenseNotice")
class LicenseNoticeWorkflow:
    """No license waits for an e-mail."""

    @workflow.run
    async def run(self, order: NotifyHolders) -> None:
        """Send what has to be said."""
        await workflow.execute_activity_method(
            AssignmentActivities.notify_holders,
            order,
            **mail(f"Tell {len(order.results)} users of {order.account}"),
        )
