"""The workflow that sends the letters about an event, so that no lifecycle waits for them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from temporalio import workflow
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from pydantic import Field

    from activities.assignment import AssignmentActivities, NotifyHolders
    from activities.order import NotifyBuyer, OrderActivities
    from domain.address import masked
    from domain.model import Value
    from workflows.options import mail

Notification = NotifyBuyer | NotifyHolders

_Activities = TypeVar("_Activities")
_Notification = TypeVar("_Notification")


class SendNotice(Value):
    """The input of a notice: one event with the people whom it concerns."""

    notification: Annotated[Notification, Field(discriminator="kind")]


@workflow.defn(name="Notice")
class NoticeWorkflow:
    """The letters about one event. It may outlive the workflow that started it."""

    @workflow.run
    async def run(self, notice: SendNotice) -> None:
        """Send the letters; a mail server that is down is retried without limit."""
        match notice.notification:
            case NotifyBuyer() as request:
                summary = f"Order of {masked(request.order.bought_by)}: {request.order.state}"
                await self._send(OrderActivities.notify_buyer, request, summary)
            case NotifyHolders() as request:
                summary = f"Licenses of {len(request.results)} users of {request.account}"
                await self._send(AssignmentActivities.notify_holders, request, summary)

    async def _send(
        self,
        activity: Callable[[_Activities, _Notification], Awaitable[None]],
        notification: _Notification,
        summary: str,
    ) -> None:
        await workflow.execute_activity_method(activity, notification, **mail(summary))


async def start_notice(notification: Notification, *, id: str, summary: str) -> None:
    """Start a notice as a child that outlives the current workflow."""
    await workflow.start_child_workflow(
        NoticeWorkflow.run,
        SendNotice(notification=notification),
        id=id,
        parent_close_policy=ParentClosePolicy.ABANDON,
        static_summary=summary,
    )
