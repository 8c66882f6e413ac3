"""One person asked into one account, from the first e-mail to the end."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from math import ceil

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityConfig, LocalActivityConfig, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from pydantic import TypeAdapter
    from statemachine.exceptions import TransitionNotAllowed

    from activities.invitation import (
        AuthorizeAdmin,
        DeliverInvitation,
        EndInvitation,
        InvitationActivities,
        JoinAccount,
        PreviewInvitation,
        RecordInvitation,
        as_delivered,
    )
    from domain.address import masked
    from domain.error import ErrorCode, Refused
    from domain.invitation import (
        AcceptInvitation,
        Blocker,
        CarriedInvitation,
        Choice,
        DeclineInvitation,
        Invitation,
        Invite,
        ResendInvitation,
        RevokeInvitation,
        Settlement,
        StartInvitation,
    )
    from domain.journal import ENGINE, INVITEE
    from domain.preview import Preview
    from domain.refund import RefundOrder, StartRefund
    from states.invitation import InvitationMachine, opening
    from states.refund import opening as opening_refund
    from workflows import search_attribute
    from workflows.lifecycle import Lifecycle, refusal_in
    from workflows.notice import NoticeWorkflow
    from workflows.options import LOOK, MAIL, STORE
    from workflows.refund import RefundWorkflow
    from workflows.refund import search_attributes as refund_search_attributes

UPDATES_IN_ONE_RUN = 1_000
"""Half of what the server accepts in one run; then the history starts anew."""

_BLOCKERS = TypeAdapter(tuple[Blocker, ...])


@workflow.defn(name="Invitation", failure_exception_types=[Refused, TransitionNotAllowed])
class InvitationWorkflow:
    """Delivers the invitation, waits for its end, and tells everybody."""

    @workflow.init
    def __init__(self, start: StartInvitation) -> None:
        """Stand where the run before stood, or at the beginning."""
        info, invite, carried = workflow.info(), start.invite, start.carried
        begun = opening(invite, run_id=info.first_execution_run_id, at=workflow.now())
        self._invite = invite
        self._lifecycle = Lifecycle(
            InvitationMachine,
            carried.invitation if carried else begun,
            search_attributes=lambda invitation: search_attributes(invite, invitation),
            facts=facts,
        )
        self._mail_due = carried is None or carried.mail_due
        self._mailed_at = carried.mailed_at if carried else None
        self._quote = carried.quote if carried else None
        self._refund: RefundOrder | None = None
        self._delivery: asyncio.Task[None] | None = None
        self._updates = 0
        # Answers are handled one at a time, in the order of arrival (INV-10).
        self._turn = asyncio.Lock()

    @property
    def _now(self) -> Invitation:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartInvitation) -> Invitation:
        """From the first e-mail to the end; returns the invitation as it ended."""
        if self._mail_due:
            self._start_delivery()
        await self._wait_for_an_end()
        if self._now.state.accepted:
            await self._settle()
            await self._complete()
        else:
            await self._tell_of_the_end()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._now

    # What happens by itself, in order.

    def _start_delivery(self) -> None:
        """Send the last link; an e-mail with an older one that is still on its way stops."""
        if self._delivery:
            self._delivery.cancel()
        self._mail_due = True
        self._mailed_at = workflow.now()
        self._delivery = asyncio.create_task(self._deliver())

    async def _deliver(self) -> None:
        delivered = await workflow.execute_activity_method(
            InvitationActivities.deliver_invitation,
            DeliverInvitation(invite=self._invite, invitation=self._now, at=workflow.now()),
            **MAIL | ActivityConfig(summary=f"Send e-mail {self._now.sent_count}"),
        )
        async with self._turn:
            self._mail_due, self._mailed_at = False, delivered.at
            if not self._now.state.unanswered:
                return
            if delivered.refused is not None:
                await self._end("bounce", by=ENGINE, note=delivered.refused)
            else:
                self._lifecycle.take(as_delivered(self._now, delivered.at, self._invite.policy))
                # From now on it only waits, in a cache: no longer with this task.
                self._delivery = None

    async def _wait_for_an_end(self) -> None:
        while self._now.state.unanswered:
            deadline = self._now.expires_at
            if deadline and deadline <= workflow.now():
                await self._expire()
            elif self._history_is_long():
                await self._continue_as_new()
            else:
                await self._wait_for_news(deadline)
        if self._delivery:
            self._delivery.cancel()

    async def _wait_for_news(self, deadline: datetime | None) -> None:
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: (
                    not self._now.state.unanswered
                    or self._now.expires_at != deadline
                    or self._history_is_long()
                    or self._delivery_failure() is not None
                ),
                timeout=deadline - workflow.now() if deadline else None,
                timeout_summary="Deadline for the answer",
            )
        if failure := self._delivery_failure():
            # A delivery is retried for ever, so this is a fault of ours: it must be seen.
            raise failure

    def _delivery_failure(self) -> BaseException | None:
        delivery = self._delivery
        if delivery is None or not delivery.done() or delivery.cancelled():
            return None
        return delivery.exception()

    async def _expire(self) -> None:
        async with self._turn:
            # An answer or a resend that was taken in before the deadline came first.
            deadline = self._now.expires_at
            if self._now.state.unanswered and deadline and deadline <= workflow.now():
                await self._end("expire", by=ENGINE)

    def _history_is_long(self) -> bool:
        return workflow.info().is_continue_as_new_suggested() or self._updates >= UPDATES_IN_ONE_RUN

    async def _continue_as_new(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._now.state.unanswered:
            workflow.continue_as_new(
                StartInvitation(
                    invite=self._invite,
                    carried=CarriedInvitation(
                        invitation=self._now,
                        mail_due=self._mail_due,
                        mailed_at=self._mailed_at,
                        quote=self._quote,
                    ),
                )
            )

    async def _settle(self) -> None:
        """Return what is to be refunded; a transfer was made with the membership (REF, CRD)."""
        settlement = self._now.settlement
        if self._refund:
            self._lifecycle.take(self._lifecycle.foresee("refund", by=ENGINE))
            await asyncio.gather(self._tell_everybody(), self._follow_the_refund(self._refund))
        elif settlement and settlement.kind is Choice.TRANSFER:
            self._lifecycle.take(self._lifecycle.foresee("transfer", by=ENGINE))

    async def _follow_the_refund(self, order: RefundOrder) -> None:
        """Wait until it is settled, converted or closed (REF-6); it goes on without us too."""
        await workflow.execute_child_workflow(
            RefundWorkflow.run,
            StartRefund(order=order),
            id=order.workflow_id,
            parent_close_policy=ParentClosePolicy.ABANDON,
            search_attributes=refund_search_attributes(order, opening_refund(order)),
            static_summary=f"Refund to {masked(order.payee)}",
        )

    async def _complete(self) -> None:
        self._lifecycle.take(self._lifecycle.foresee("complete", by=ENGINE))
        await self._tell_everybody()

    async def _tell_everybody(self) -> None:
        """Keep the record and send what has not been sent; each letter goes out once."""
        await workflow.execute_activity_method(
            InvitationActivities.close_invitation,
            RecordInvitation(invite=self._invite, invitation=self._now),
            **MAIL | ActivityConfig(summary="Keep the record, tell everybody concerned"),
        )

    async def _tell_of_the_end(self) -> None:
        """Hand the e-mails to a workflow of their own: this id must be free at once (INV-8)."""
        await workflow.start_child_workflow(
            NoticeWorkflow.run,
            RecordInvitation(invite=self._invite, invitation=self._now),
            id=f"notice/{self._invite.account}/{self._invite.invitation_id}",
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=f"{masked(self._invite.email)} is {self._now.state}",
        )

    # What changes the store first, and is shown afterwards.

    async def _end(self, event: str, *, by: str, note: str | None = None) -> None:
        """End it, unless something else came first in the store; then show which it was."""
        wanted = self._lifecycle.foresee(event, by=by, note=note)
        kept = await workflow.execute_activity_method(
            InvitationActivities.end_invitation,
            EndInvitation(invite=self._invite, invitation=wanted),
            **STORE | ActivityConfig(summary=f"Write the end: {wanted.state}"),
        )
        self._lifecycle.take(kept)

    async def _join(self, choice: Choice | None) -> None:
        wanted = self._lifecycle.foresee("accept", by=INVITEE)
        try:
            joined = await workflow.execute_activity_method(
                InvitationActivities.join_account,
                JoinAccount(
                    invite=self._invite, invitation=wanted, choice=choice, quote=self._quote
                ),
                **STORE | ActivityConfig(summary="Commit membership and settlement"),
            )
        except ActivityError as failed:
            raise await self._answered(refusal_in(failed)) from None
        self._refund = joined.refund
        self._lifecycle.take(joined.invitation)

    async def _answered(self, refused: Refused) -> Refused:
        """The refusal, once what follows from it has been done."""
        if refused.code is ErrorCode.BLOCKED:
            await self._block(_BLOCKERS.validate_python(refused.details["blockers"]))
        if refused.code is ErrorCode.QUOTE_EXPIRED:
            preview = await self._previewed()
            return Refused(
                refused.code, refused.message, quote=preview.model_dump(mode="json", by_alias=True)
            )
        return refused

    async def _previewed(self) -> Preview:
        """What accepting would do; the quote shown binds from now on (QUO-5)."""
        try:
            previewed = await workflow.execute_local_activity_method(
                InvitationActivities.preview_invitation,
                PreviewInvitation(invite=self._invite, at=workflow.now(), recorded=self._quote),
                **LOOK | LocalActivityConfig(summary="Say what accepting would do"),
            )
        except ActivityError as failed:
            raise refusal_in(failed) from None
        self._quote = previewed.quote
        return previewed.preview

    async def _block(self, blockers: tuple[Blocker, ...]) -> None:
        await self._record_and_take(self._lifecycle.foresee("block", by=INVITEE, blockers=blockers))

    async def _record_and_take(self, invitation: Invitation) -> None:
        await workflow.execute_activity_method(
            InvitationActivities.record_invitation,
            RecordInvitation(invite=self._invite, invitation=invitation),
            **STORE | ActivityConfig(summary=f"Keep the record: {invitation.state}"),
        )
        self._lifecycle.take(invitation)

    async def _authorize(self, admin: str) -> None:
        try:
            await workflow.execute_local_activity_method(
                InvitationActivities.authorize_admin,
                AuthorizeAdmin(account=self._invite.account, admin=admin),
                **LOOK | LocalActivityConfig(summary="Look whether an admin asks"),
            )
        except ActivityError as failed:
            raise refusal_in(failed) from None

    # What others may ask for.

    @workflow.update
    async def accept(self, answer: AcceptInvitation) -> Invitation:
        """Join the account; again with the same choice, or none, the same answer (INV-10)."""
        self._updates += 1
        async with self._turn:
            if not self._now.state.accepted:
                self._lifecycle.require("accept")
                await self._join(answer.choice)
            self._now.require_same_choice(answer.choice)
            if not self._now.state.accepted:
                raise self._lifecycle.refused()
            return self._now

    @accept.validator
    def _may_accept(self, answer: AcceptInvitation) -> None:
        if answer.link_number not in (None, self._now.sent_count):
            raise Refused(ErrorCode.NOT_FOUND, "A newer link has replaced this one.")
        if self._now.state.accepted:
            self._now.require_same_choice(answer.choice)
        else:
            self._require_in_time("accept")

    @workflow.update
    async def decline(self, answer: DeclineInvitation) -> Invitation:
        """Say no, with a reason that the inviter sees (INV-7)."""
        self._updates += 1
        async with self._turn:
            await self._end("decline", by=INVITEE, note=answer.reason)
            return self._ended_by("decline")

    @decline.validator
    def _may_decline(self, answer: DeclineInvitation) -> None:
        self._require_in_time("decline")

    @workflow.update
    async def revoke(self, order: RevokeInvitation) -> Invitation:
        """Take the invitation back (INV-7)."""
        self._updates += 1
        async with self._turn:
            self._lifecycle.require("revoke")
            await self._authorize(order.by)
            await self._end("revoke", by=order.by)
            return self._ended_by("revoke")

    @revoke.validator
    def _may_revoke(self, order: RevokeInvitation) -> None:
        self._require_in_time("revoke")

    @workflow.update
    async def resend(self, order: ResendInvitation) -> Invitation:
        """Make a new link, send it, and let the deadline count anew (INV-9)."""
        self._updates += 1
        async with self._turn:
            self._lifecycle.require("resend")
            await self._authorize(order.by)
            self._require_cooled_down()
            await self._record_and_take(
                self._lifecycle.foresee(
                    "resend",
                    by=order.by,
                    sent_count=self._now.sent_count + 1,
                    expires_at=workflow.now() + self._invite.policy.ttl,
                )
            )
            self._start_delivery()
            return self._now

    @resend.validator
    def _may_resend(self, order: ResendInvitation) -> None:
        self._require_in_time("resend")

    @workflow.update
    async def quote(self) -> Preview:
        """Say what accepting would do; nothing changes but the recorded quote (QUO-8)."""
        self._updates += 1
        async with self._turn:
            return await self._previewed()

    @quote.validator
    def _may_quote(self) -> None:
        if not self._now.state.unanswered:
            raise self._lifecycle.refused()

    # What others may look at.

    @workflow.query
    def view(self) -> Invitation:
        """The invitation as it stands; links are added where they are shown."""
        return self._now

    # The rules of an answer.

    def _require_in_time(self, event: str) -> None:
        """An answer at exactly the deadline is late (INV-6)."""
        self._lifecycle.require(event)
        if self._now.expires_at and self._now.expires_at <= workflow.now():
            raise Refused(ErrorCode.EXPIRED, "The invitation has expired.")

    def _require_cooled_down(self) -> None:
        if self._mailed_at is None:
            return
        left = self._mailed_at + self._invite.policy.resend_cooldown - workflow.now()
        if left > timedelta():
            raise Refused(
                ErrorCode.RATE_LIMITED,
                "An invitation e-mail went out a short while ago.",
                retry_after_seconds=ceil(left.total_seconds()),
            )

    def _ended_by(self, event: str) -> Invitation:
        """The invitation, when it was this that ended it; the others get a code (INV-10)."""
        if self._now.journal[-1].event != event:
            raise self._lifecycle.refused()
        return self._now


def search_attributes(invite: Invite, invitation: Invitation) -> TypedSearchAttributes:
    """What an invitation is found by; never an address."""
    found = TypedSearchAttributes(
        [
            SearchAttributePair(search_attribute.ACCOUNT_ID, invite.account),
            SearchAttributePair(search_attribute.INVITEE_KEY, invite.key),
            SearchAttributePair(search_attribute.LIFECYCLE_STATE, invitation.state.value),
        ]
    )
    if codes := [blocker.code for blocker in invitation.blockers]:
        found = found.updated(SearchAttributePair(search_attribute.BLOCKERS, codes))
    if deadline := invitation.expires_at:
        found = found.updated(SearchAttributePair(search_attribute.DEADLINE, deadline))
    if quiet_since := invitation.quiet_since:
        found = found.updated(SearchAttributePair(search_attribute.QUIET_SINCE, quiet_since))
    return found


def facts(invitation: Invitation) -> Mapping[str, str]:
    """What an operations person wants to know of an invitation beside its state."""
    expires_at = invitation.expires_at
    return {
        "Invitee": f"{masked(invitation.email)}, as {invitation.license}",
        "Account": f"`{invitation.account}`, invited by {masked(invitation.invited_by)}",
        "Answer until": f"{expires_at:%Y-%m-%d %H:%M:%S} UTC" if expires_at else "",
        "Invitation e-mails": str(invitation.sent_count),
        "Blocked by": ", ".join(blocker.code for blocker in invitation.blockers),
        "Settlement": _settled(invitation.settlement),
    }


def _settled(settlement: Settlement | None) -> str:
    if settlement is None:
        return ""
    amount = f"{settlement.kind} of {settlement.amount.amount:f} {settlement.amount.currency}"
    if settlement.arrives_between is None:
        return amount
    first, last = settlement.arrives_between
    return f"{amount}, arrives between {first} and {last}"
