"""E-mails to the invitee: the heads-up, the invitation e-mail and reminders (INV-4, REM-1)."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import TypedDict

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.invitation import (
        AnnounceInvitation,
        DeliverInvitation,
        InvitationActivities,
        RemindInvitee,
        with_delivery,
    )
    from domain.error import ErrorCode, Refused
    from domain.invitation import (
        REMINDABLE,
        CarriedInvitation,
        DueReminder,
        Invitation,
        InvitationState,
    )
    from domain.journal import ENGINE, moment_of
    from workflows.invitation_blockers import InvitationBlockers
    from workflows.invitation_completion import InvitationCompletion
    from workflows.invitation_details import InvitationLifecycle
    from workflows.options import mail


class CarriedMail(TypedDict):
    """State of the e-mails that continue-as-new carries over."""

    mail_due: bool
    mailed_at: datetime | None
    reminder: DueReminder | None


class InvitationMail:
    """The deliveries and reminders of one invitation, each in its own task."""

    __slots__ = (
        "_blockers",
        "_completion",
        "_delivery",
        "_delivery_due",
        "_lifecycle",
        "_mailed_at",
        "_reminder",
        "_reminder_task",
    )

    def __init__(
        self,
        lifecycle: InvitationLifecycle,
        blockers: InvitationBlockers,
        completion: InvitationCompletion,
        carried: CarriedInvitation | None,
    ) -> None:
        self._lifecycle = lifecycle
        self._blockers = blockers
        self._completion = completion
        self._delivery_due = carried is None or carried.mail_due
        self._mailed_at = carried.mailed_at if carried else None
        self._delivery: asyncio.Task[None] | None = None
        self._reminder = carried.reminder if carried else None
        self._reminder_task: asyncio.Task[None] | None = None

    def carried(self) -> CarriedMail:
        """Return the state to carry over to the next run."""
        return CarriedMail(
            mail_due=self._delivery_due, mailed_at=self._mailed_at, reminder=self._reminder
        )

    def start(self) -> None:
        """Start the e-mails that are due at the beginning of a run."""
        if self._delivery_due:
            self.start_delivery()
        if self._reminder:
            self._start_reminder(self._reminder)

    def cancel(self) -> None:
        """Cancel the e-mails that are not sent yet: none is sent after the end."""
        for task in self._tasks:
            task.cancel()

    @property
    def failure(self) -> BaseException | None:
        """The failure of a task. E-mails are retried without limit, so it is a defect."""
        ended = (task for task in self._tasks if task.done() and not task.cancelled())
        return next((failure for task in ended if (failure := task.exception())), None)

    @property
    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for task in (self._delivery, self._reminder_task) if task]

    # Deliveries

    def start_delivery(self) -> None:
        """Send the e-mail that is due; cancel the delivery of an older link."""
        if self._delivery:
            self._delivery.cancel()
        self._delivery_due = True
        self._mailed_at = workflow.now()
        announced = self._lifecycle.record.state is InvitationState.ANNOUNCED
        send = self._announce if announced else self._invite
        self._delivery = asyncio.create_task(self._lifecycle.retried(send))

    async def _announce(self) -> None:
        """Send the heads-up; the invitation e-mail follows on its day (INV-17)."""
        lifecycle = self._lifecycle
        announced = await workflow.execute_activity_method(
            InvitationActivities.announce_invitation,
            AnnounceInvitation(
                invite=lifecycle.invite, invitation=lifecycle.record, at=workflow.now()
            ),
            **mail("Send the heads-up"),
        )
        if announced.no_longer_due:
            self._blockers.request_recheck()
            return
        async with lifecycle.update_lock:
            if lifecycle.record.state is InvitationState.ANNOUNCED:
                self._delivery_due = False
                await self._accepted_by_server(announced.refused)

    async def send_announced(self) -> None:
        """Send the invitation e-mail on its day, after the heads-up (INV-17)."""
        lifecycle = self._lifecycle
        async with lifecycle.update_lock:
            if lifecycle.record.state is InvitationState.ANNOUNCED:
                await lifecycle.write(lifecycle.next_record("invite", by=ENGINE))
                self.start_delivery()

    async def _invite(self) -> None:
        lifecycle = self._lifecycle
        if lifecycle.invite.managed and lifecycle.record.state is InvitationState.SENT:
            await self._completion.join_by_managed_domain()
        if lifecycle.record.state.unanswered:
            await self._deliver()

    async def _deliver(self) -> None:
        lifecycle, invitation = self._lifecycle, self._lifecycle.record
        delivered = await workflow.execute_activity_method(
            InvitationActivities.deliver_invitation,
            DeliverInvitation(invite=lifecycle.invite, invitation=invitation, at=workflow.now()),
            **mail(f"Send e-mail {invitation.sent_count}"),
        )
        if delivered.no_longer_due:
            self._blockers.request_recheck()
            return
        async with lifecycle.update_lock:
            self._delivery_due, self._mailed_at = False, delivered.at
            if delivered.kept and lifecycle.record is invitation:
                # The workflow was reset: the store knows more.
                lifecycle.keep(delivered.kept)
            elif lifecycle.record.state.unanswered and await self._accepted_by_server(
                delivered.refused
            ):
                await self._apply_delivery(invitation, delivered.at)
                # From now on the workflow waits in the cache, where the task would take memory.
                self._delivery = None

    async def _apply_delivery(self, sent: Invitation, at: datetime) -> None:
        lifecycle = self._lifecycle
        delivered = with_delivery(lifecycle.record, at, lifecycle.invite.policy)
        # The activity has written the delivery into the record that it received. A record that
        # has changed since is written here.
        if lifecycle.record is not sent:
            await lifecycle.write(delivered)
        else:
            lifecycle.apply(delivered)

    async def _accepted_by_server(self, refused: str | None) -> bool:
        """Return whether the server accepted the e-mail; a permanent refusal is the end (INV-4)."""
        if refused is not None:
            await self._lifecycle.end("bounce", by=ENGINE, note=refused)
        return refused is None

    @property
    def resend_from(self) -> datetime | None:
        """The end of the resend cool-down; None before the first e-mail (INV-9)."""
        if self._mailed_at is None:
            return None
        return self._mailed_at + self._lifecycle.invite.policy.resend_cooldown

    def require_cooled_down(self) -> None:
        """Raise Refused unless the resend cool-down has passed (INV-9)."""
        if self._mailed_at is None or self.resend_from is None:
            return
        left = self.resend_from - workflow.now()
        if left > timedelta():
            raise Refused(
                ErrorCode.RATE_LIMITED,
                f"The invitation e-mail was sent on {moment_of(self._mailed_at)}; "
                f"it can be sent again on {moment_of(self.resend_from)}.",
                retry_after_seconds=ceil(left.total_seconds()),
            )

    # Reminders

    def remind(self, run: str | None) -> None:
        """Send a reminder if one is due, else do nothing (REM-1)."""
        if self._may_remind_now():
            number = self._lifecycle.record.reminders_sent + 1
            self._start_reminder(DueReminder(number=number, run=run))

    def _may_remind_now(self) -> bool:
        """Return whether a reminder is due and no other e-mail is being sent (REM-1).

        The others are the heads-up, the invitation e-mail and a reminder of this invitation.
        """
        now, policy = workflow.now(), self._lifecycle.invite.policy
        invitation = self._lifecycle.record
        due, deadline = invitation.remindable_from(policy), invitation.expires_at
        return (
            due is not None
            and due <= now
            and not (deadline and deadline <= now)
            and not (self._delivery_due or self._reminder)
            # The quiet time also counts from the delivery of a resent e-mail, which may be days
            # after the `resend` entry.
            and not (self._mailed_at and now < self._mailed_at + policy.remind_after)
        )

    def _start_reminder(self, reminder: DueReminder) -> None:
        self._reminder = reminder
        send = partial(self._remind, reminder)
        self._reminder_task = asyncio.create_task(self._lifecycle.retried(send))

    async def _remind(self, reminder: DueReminder) -> None:
        lifecycle = self._lifecycle
        reminded = await workflow.execute_activity_method(
            InvitationActivities.remind_invitee,
            RemindInvitee(
                invite=lifecycle.invite,
                invitation=lifecycle.record,
                reminder=reminder,
                at=workflow.now(),
            ),
            **mail(f"Send reminder {reminder.number}"),
        )
        async with lifecycle.update_lock:
            if lifecycle.record.state in REMINDABLE and await self._accepted_by_server(
                reminded.refused
            ):
                if reminded.sent:
                    await lifecycle.write(
                        lifecycle.next_record(
                            "remind",
                            by=ENGINE,
                            reminders_sent=reminder.number,
                            reminded_by=reminder.run,
                        )
                    )
                self._reminder = self._reminder_task = None
