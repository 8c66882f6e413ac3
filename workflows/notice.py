"""The workflow that sends the letters about an event, so that no lifecycle waits for them."""

from temporalio import workflow
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.refund import NotifyPayee, RefundActivities
    from domain.address import masked
    from domain.model import Value
    from workflows.options import mail


class SendNotice(Value):
    """The input of a notice: one event with the people whom it concerns."""

    notification: NotifyPayee


@workflow.defn(name="Notice")
class NoticeWorkflow:
    """The letters about one event. It may outlive the workflow that started it."""

    @workflow.run
    async def run(self, notice: SendNotice) -> None:
        """Send the letters; a mail server that is down is retried without limit."""
        request = notice.notification
        summary = f"Refund to {masked(request.plan.payee)}: {request.refund.state}"
        await workflow.execute_activity_method(
            RefundActivities.notify_payee, request, **mail(summary)
        )


async def start_notice(notification: NotifyPayee, *, id: str, summary: str) -> None:
    """Start a notice as a child that outlives the current workflow."""
    await workflow.start_child_workflow(
        NoticeWorkflow.run,
        SendNotice(notification=notification),
        id=id,
        parent_close_policy=ParentClosePolicy.ABANDON,
        static_summary=summary,
    )
