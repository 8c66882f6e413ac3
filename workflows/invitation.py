"""One person asked into one account, from the first e-mail to the end."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain, repeat
from math import ceil
from typing import NamedTuple

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import (
    ActivityError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import ActivityConfig, LocalActivityConfig, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from pydantic import TypeAdapter
    from statemachine.exceptions import TransitionNotAllowed

    from activities.invitation import (
        AnnounceInvitation,
        AuthorizeAdmin,
        DeliverInvitation,
        EndInvitation,
        InvitationActivities,
        JoinAccount,
        LookAgain,
        PreviewInvitation,
        RecordInvitation,
        RemindInvitee,
        as_delivered,
    )
    from activities.move import MoveActivities, MoveData
    from activities.refund import RecallRefund, RefundActivities
    from domain.address import masked
    from domain.blocker import recheck_at
    from domain.error import ErrorCode, Refused
    from domain.invitation import (
        REMINDABLE,
        AcceptInvitation,
        Blocker,
        CarriedInvitation,
        Choice,
        DeclineInvitation,
        DueReminder,
        Invitation,
        InvitationState,
        Invite,
        ResendInvitation,
        RevokeInvitation,
        Settlement,
        StartInvitation,
    )
    from domain.journal import ENGINE, INVITEE
    from domain.manifest import GIVE_UP_AFTER, Manifest, failed, unfinished, with_running_items
    from domain.preview import Preview
    from domain.refund import Refund, RefundOrder, StartRefund
    from states.invitation import InvitationMachine, opening
    from states.refund import opening as opening_refund
    from workflows import search_attribute
    from workflows.lifecycle import Lifecycle, refusal_in
    from workflows.notice import NoticeWorkflow
    from workflows.options import LOOK, MOVE, STORE, mail
    from workflows.refund import RefundWorkflow
    from workflows.refund import search_attributes as refund_search_attributes

UPDATES_IN_ONE_RUN = 1_000
"""Half of what the server accepts in one run; then the history starts anew."""

REFUND_TAKEN_UP_AFTER = (
    timedelta(0),
    timedelta(minutes=1),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
)
"""How long after each end from outside; at once, for the first was a slip of somebody's hand.

The last one is repeated: what fails each time must not fill the history.
"""

_BLOCKERS = TypeAdapter(tuple[Blocker, ...])

_WEIGHED_AFTER_BLOCKERS = frozenset(
    {ErrorCode.CHOICE_REQUIRED, ErrorCode.CURRENCY_MISMATCH, ErrorCode.QUOTE_EXPIRED}
)
"""What is only answered when nothing blocks."""


class Moment(NamedTuple):
    """When something is due next, and what."""

    at: datetime
    summary: str


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
        self._blocked_since = carried.blocked_since if carried else None
        self._rechecks = carried.rechecks if carried else 0
        self._blockers_told = carried.blockers_told if carried else ()
        self._directory_changed = False
        self._told = False
        self._refund = carried.refund if carried else None
        self._delivery: asyncio.Task[None] | None = None
        self._reminder = carried.reminder if carried else None
        self._reminding: asyncio.Task[None] | None = None
        self._updates = 0
        # Answers are handled one at a time, in the order of arrival (INV-10).
        self._turn = asyncio.Lock()
        self._telling = asyncio.Lock()

    @property
    def _now(self) -> Invitation:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartInvitation) -> Invitation:
        """From the first e-mail to the end; returns the invitation as it ended."""
        if self._mail_due:
            self._start_delivery()
        if self._reminder:
            self._start_reminding(self._reminder)
        await self._wait_for_an_end()
        if self._now.state.accepted and not self._now.state.final:
            await asyncio.gather(self._settle(), self._move())
            await self._complete()
        elif not self._told:
            await self._tell(f"notice/{self._invite.account}/{self._invite.invitation_id}")
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._now

    # What happens by itself, in order.

    def _start_delivery(self) -> None:
        """Send what is due; an e-mail with an older link that is still on its way stops."""
        if self._delivery:
            self._delivery.cancel()
        self._mail_due = True
        self._mailed_at = workflow.now()
        announced = self._now.state is InvitationState.ANNOUNCED
        self._delivery = asyncio.create_task(self._announce() if announced else self._send_out())

    async def _announce(self) -> None:
        """Send the heads-up; the invitation itself follows on its day (INV-17)."""
        announced = await workflow.execute_activity_method(
            InvitationActivities.announce_invitation,
            AnnounceInvitation(invite=self._invite, invitation=self._now, at=workflow.now()),
            **mail("Send the heads-up"),
        )
        if not announced.sent:
            self._find_out_why()
            return
        async with self._turn:
            if self._now.state is InvitationState.ANNOUNCED:
                self._mail_due = False
                await self._unless_refused(announced.refused)

    async def _go_out(self) -> None:
        async with self._turn:
            if self._now.state is InvitationState.ANNOUNCED:
                await self._record_and_take(self._lifecycle.foresee("invite", by=ENGINE))
                self._start_delivery()

    async def _send_out(self) -> None:
        if self._invite.managed and self._now.state is InvitationState.SENT:
            await self._join_unasked()
        if self._now.state.unanswered:
            await self._deliver()

    async def _join_unasked(self) -> None:
        """Who is in a managed domain joins at once, unless they have to be asked (INV-18)."""
        async with self._turn:
            with suppress(Refused):
                await self._join("join", by=ENGINE, unasked=True)

    async def _deliver(self) -> None:
        ordered = self._now
        delivered = await workflow.execute_activity_method(
            InvitationActivities.deliver_invitation,
            DeliverInvitation(invite=self._invite, invitation=ordered, at=workflow.now()),
            **mail(f"Send e-mail {self._now.sent_count}"),
        )
        if not delivered.sent:
            self._find_out_why()
            return
        async with self._turn:
            self._mail_due, self._mailed_at = False, delivered.at
            if self._now.state.unanswered and await self._unless_refused(delivered.refused):
                await self._take_delivery(ordered, delivered.at)
                # From now on it only waits, in a cache: no longer with this task.
                self._delivery = None

    async def _take_delivery(self, ordered: Invitation, at: datetime) -> None:
        now = as_delivered(self._now, at, self._invite.policy)
        # The activity has recorded what was ordered. What has changed since has to be kept too,
        # which invitations of before do not do. Goes when none of them runs.
        if self._now is not ordered and workflow.patched("keeps what changed during a delivery"):
            await self._record_and_take(now)
        else:
            self._lifecycle.take(now)

    def _find_out_why(self) -> None:
        """Look how it stands in the store, which knew before us that an e-mail is not due."""
        self._directory_changed = True

    def _start_reminding(self, reminder: DueReminder) -> None:
        self._reminder = reminder
        self._reminding = asyncio.create_task(self._remind(reminder))

    async def _remind(self, reminder: DueReminder) -> None:
        reminded = await workflow.execute_activity_method(
            InvitationActivities.remind_invitee,
            RemindInvitee(invite=self._invite, invitation=self._now, reminder=reminder),
            **mail(f"Send reminder {reminder.number}"),
        )
        async with self._turn:
            if self._now.state in REMINDABLE and await self._unless_refused(reminded.refused):
                if reminded.sent:
                    await self._record_and_take(
                        self._lifecycle.foresee(
                            "remind",
                            by=ENGINE,
                            reminders_sent=reminder.number,
                            reminded_by=reminder.run,
                        )
                    )
                self._reminder = self._reminding = None

    async def _unless_refused(self, refused: str | None) -> bool:
        """Whether the mail server has taken the e-mail; if it never will, that is the end."""
        if refused is not None:
            await self._end("bounce", by=ENGINE, note=refused)
        return refused is None

    async def _wait_for_an_end(self) -> None:
        while self._now.state.unanswered:
            due = self._due()
            if self._directory_changed:
                await self._look_again()
            elif self._history_is_long():
                await self._continue_as_new()
            elif due and due.at <= workflow.now():
                await self._do_what_is_due()
            else:
                await self._wait_for_news(due)
        # No e-mail goes out after the end.
        for mail in self._mails:
            mail.cancel()

    def _due(self) -> Moment | None:
        """What happens next by itself, and when."""
        now, moments = self._now, list[Moment]()
        if now.expires_at:
            moments.append(Moment(now.expires_at, "Deadline for the answer"))
        if now.state is InvitationState.ANNOUNCED and now.goes_out_at:
            moments.append(Moment(now.goes_out_at, "Send the invitation itself"))
        if now.state is InvitationState.BLOCKED and self._blocked_since:
            recheck = recheck_at(self._blocked_since, self._rechecks)
            moments.append(Moment(recheck, "Look again whether it is blocked"))
        return min(moments, default=None)

    async def _do_what_is_due(self) -> None:
        deadline = self._now.expires_at
        if deadline and deadline <= workflow.now():
            await self._expire()
        elif self._now.state is InvitationState.ANNOUNCED:
            await self._go_out()
        else:
            self._rechecks += 1
            await self._look_again()

    async def _wait_for_news(self, due: Moment | None) -> None:
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: (
                    not self._now.state.unanswered
                    or self._due() != due
                    or self._directory_changed
                    or self._history_is_long()
                    or self._mail_failure() is not None
                ),
                timeout=due.at - workflow.now() if due else None,
                timeout_summary=due.summary if due else None,
            )
        if failure := self._mail_failure():
            # An e-mail is retried for ever, so this is a fault of ours: it must be seen.
            raise failure

    @property
    def _mails(self) -> list[asyncio.Task[None]]:
        """The e-mails to the invitee that are on their way."""
        return [mail for mail in (self._delivery, self._reminding) if mail]

    def _mail_failure(self) -> BaseException | None:
        ended = (mail for mail in self._mails if mail.done() and not mail.cancelled())
        return next((failure for mail in ended if (failure := mail.exception())), None)

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
        if self._now.state.unanswered and not self._directory_changed:
            workflow.continue_as_new(
                StartInvitation(
                    invite=self._invite,
                    carried=CarriedInvitation(
                        invitation=self._now,
                        mail_due=self._mail_due,
                        mailed_at=self._mailed_at,
                        quote=self._quote,
                        blocked_since=self._blocked_since,
                        rechecks=self._rechecks,
                        reminder=self._reminder,
                        blockers_told=self._blockers_told,
                    ),
                )
            )

    async def _look_again(self) -> None:
        async with self._turn:
            await self._look()

    async def _look(self) -> None:
        """See how it stands in the store: ended by another acceptance, or free to go on."""
        self._directory_changed = False
        if not self._now.state.unanswered:
            return
        standing = await workflow.execute_activity_method(
            InvitationActivities.look_again,
            LookAgain(invite=self._invite),
            **STORE | ActivityConfig(summary="Look what blocks it"),
        )
        if not standing.invitation.state.unanswered:
            self._lifecycle.take(standing.invitation)
        elif self._now.state is InvitationState.BLOCKED:
            await self._weigh(standing.blockers)

    async def _weigh(self, blockers: tuple[Blocker, ...]) -> None:
        """Go on when nothing blocks any more; else keep what is left (BLK-4)."""
        if not blockers:
            await self._unblock()
        elif blockers != self._now.blockers:
            self._blocked_since, self._rechecks = workflow.now(), 0
            await self._record_and_take(self._now.model_copy(update={"blockers": blockers}))

    async def _settle(self) -> None:
        """Return what is to be refunded; a transfer was made with the membership (REF, CRD)."""
        settlement, begins = self._now.settlement, self._now.state is InvitationState.ACCEPTED
        if self._refund:
            if begins:
                self._lifecycle.take(self._lifecycle.foresee("refund", by=ENGINE))
            await asyncio.gather(self._tell_early(), self._follow_the_refund(self._refund))
        elif begins and settlement and settlement.kind is Choice.TRANSFER:
            self._lifecycle.take(self._lifecycle.foresee("transfer", by=ENGINE))

    async def _follow_the_refund(self, order: RefundOrder) -> None:
        """Wait until it is settled, converted or closed (REF-6); it goes on without us too."""
        kept = await self._outcome(StartRefund(order=order))
        for pause in chain(REFUND_TAKEN_UP_AFTER, repeat(REFUND_TAKEN_UP_AFTER[-1])):
            if kept and kept.state.finished:
                return
            if pause:
                await workflow.sleep(pause, summary="Look after the refund again")
            kept = await workflow.execute_activity_method(
                RefundActivities.recall_refund,
                RecallRefund(refund_id=order.refund_id),
                **STORE | ActivityConfig(summary="Look how the refund stands"),
            )
            if not kept.state.finished:
                kept = await self._outcome(StartRefund(order=order, carried=kept))

    async def _outcome(self, start: StartRefund) -> Refund | None:
        """How the refund came to rest; None when it was ended from outside, or runs already."""
        order = start.order
        try:
            return await workflow.execute_child_workflow(
                RefundWorkflow.run,
                start,
                id=order.workflow_id,
                parent_close_policy=ParentClosePolicy.ABANDON,
                search_attributes=refund_search_attributes(
                    order, start.carried or opening_refund(order)
                ),
                static_summary=f"Refund to {masked(order.payee)}",
            )
        except (ChildWorkflowError, WorkflowAlreadyStartedError):
            return None

    async def _move(self) -> None:
        """Take along what the person has; nobody waits for what has to be tried again (TRF-1)."""
        if unfinished(self._now.manifest):
            await self._move_data(with_running_items(self._now.manifest))
        if unfinished(self._now.manifest):
            give_up_at = workflow.now() + GIVE_UP_AFTER
            again = self._move_data(with_running_items(self._now.manifest), give_up_at=give_up_at)
            await asyncio.gather(self._tell_early(), again)

    async def _move_data(self, manifest: Manifest, *, give_up_at: datetime | None = None) -> None:
        self._show_manifest(manifest)
        moved = await workflow.execute_activity_method(
            MoveActivities.move_data,
            MoveData(
                invitation_id=self._invite.invitation_id,
                account=self._invite.account,
                email=self._invite.email,
                manifest=manifest,
                at=workflow.now(),
                give_up_at=give_up_at,
            ),
            **MOVE | ActivityConfig(summary="Move what belongs to the person"),
        )
        self._show_manifest(moved.manifest)

    def _show_manifest(self, manifest: Manifest) -> None:
        with_errors = self._now.state.final and failed(manifest)
        self._lifecycle.take(
            self._now.model_copy(update={"manifest": manifest, "with_errors": with_errors})
        )

    async def _complete(self) -> None:
        # Failed items may just be moving again.
        await workflow.wait_condition(workflow.all_handlers_finished)
        with_errors = failed(self._now.manifest)
        self._lifecycle.take(
            self._lifecycle.foresee("complete", by=ENGINE, with_errors=with_errors)
        )
        await self._tell_everybody()

    async def _tell_early(self) -> None:
        """What takes days must not keep anybody waiting for the news of the acceptance."""
        if not self._told:
            self._told = True
            await self._tell_everybody()

    async def _tell_everybody(self) -> None:
        """Keep the record and send what has not been sent; each letter goes out once."""
        # Two at a time would each find the same letter unsent.
        async with self._telling:
            await workflow.execute_activity_method(
                InvitationActivities.close_invitation,
                RecordInvitation(invite=self._invite, invitation=self._now),
                **mail("Keep the record, tell everybody concerned"),
            )

    async def _tell_of_the_turn(self) -> None:
        """It is blocked, or no longer: the invitee should know, whatever comes next (BLK-4)."""
        account, run = self._invite.account, self._invite.invitation_id
        await self._tell(f"notice/{account}/{run}/{len(self._now.journal)}")

    async def _tell(self, notice: str) -> None:
        """Hand the e-mails to a workflow of their own.

        An ended invitation's id must be free at once (INV-8), and nobody waits for an e-mail.
        """
        await workflow.start_child_workflow(
            NoticeWorkflow.run,
            RecordInvitation(invite=self._invite, invitation=self._now),
            id=notice,
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

    async def _join(
        self, event: str, *, by: str, choice: Choice | None = None, unasked: bool = False
    ) -> None:
        wanted = self._lifecycle.foresee(event, by=by)
        try:
            joined = await workflow.execute_activity_method(
                InvitationActivities.join_account,
                JoinAccount(
                    invite=self._invite,
                    invitation=wanted,
                    choice=choice,
                    quote=self._quote,
                    unasked=unasked,
                ),
                **STORE | ActivityConfig(summary="Commit membership and settlement"),
            )
        except ActivityError as failure:
            raise refusal_in(failure) from None
        self._refund, self._told = joined.refund, joined.told
        self._lifecycle.take(joined.invitation)

    async def _answered(self, refused: Refused) -> Refused:
        """The refusal, once what follows from it has been done."""
        if refused.code is ErrorCode.BLOCKED:
            await self._block(_BLOCKERS.validate_python(refused.details["blockers"]))
        elif refused.code in _WEIGHED_AFTER_BLOCKERS and self._now.state is InvitationState.BLOCKED:
            await self._unblock()
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
        """Say what blocks it, and tell the invitee if that is news to them (BLK-4)."""
        if blockers == self._now.blockers == self._blockers_told:
            return
        now = self._now
        if self._invite.policy.pause_while_blocked:
            now = now.paused(workflow.now())
        # Invitations of before only waited. Goes when none of them runs: they live a year at most.
        goes_on_by_itself = workflow.patched("goes on by itself when unblocked")
        if goes_on_by_itself:
            self._blocked_since, self._rechecks = workflow.now(), 0
        await self._record_and_take(
            self._lifecycle.foresee(
                "block",
                by=INVITEE,
                blockers=blockers,
                expires_at=now.expires_at,
                time_left=now.time_left,
            )
        )
        self._blockers_told = blockers
        if goes_on_by_itself:
            await self._tell_of_the_turn()

    async def _unblock(self) -> None:
        resumed = self._now.resumed(workflow.now())
        self._blocked_since, self._blockers_told = None, ()
        await self._record_and_take(
            self._lifecycle.foresee("unblock", by=ENGINE, expires_at=resumed.expires_at)
        )
        await self._tell_of_the_turn()

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
                await self._accept(answer.choice)
            self._now.require_same_choice(answer.choice)
            if not self._now.state.accepted:
                raise self._lifecycle.refused()
            return self._now

    async def _accept(self, choice: Choice | None) -> None:
        try:
            await self._join("accept", by=INVITEE, choice=choice)
        except Refused as refused:
            raise await self._answered(refused) from None

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
            resent = self._lifecycle.foresee(
                "resend", by=order.by, sent_count=self._now.sent_count + 1
            )
            await self._record_and_take(
                resent.with_time_left(self._invite.policy.ttl, since=workflow.now())
            )
            self._start_delivery()
            return self._now

    @resend.validator
    def _may_resend(self, order: ResendInvitation) -> None:
        self._require_in_time("resend")

    @workflow.update
    async def recheck(self) -> Invitation:
        """Look at once whether it is still blocked (BLK-4)."""
        self._updates += 1
        async with self._turn:
            await self._look()
            if not self._now.state.unanswered:
                raise self._lifecycle.refused()
            return self._now

    @recheck.validator
    def _may_recheck(self) -> None:
        self._lifecycle.require_allowed("recheck")
        self._require_not_expired()

    @workflow.update
    async def retry_move(self) -> Invitation:
        """Try what could not be moved once more (TRF-1)."""
        self._updates += 1
        if failed(self._now.manifest):
            again = with_running_items(self._now.manifest, again=True)
            await self._move_data(again, give_up_at=workflow.now())
            if self._now.state.final:
                await self._tell_everybody()
        return self._now

    @retry_move.validator
    def _may_retry_move(self) -> None:
        if not self._now.state.accepted:
            raise self._lifecycle.refused()

    @workflow.update
    async def quote(self) -> Preview:
        """Say what accepting would do; nothing changes but the recorded quote (QUO-8)."""
        self._updates += 1
        async with self._turn:
            # Whoever was before in the line may have answered. Invitations of before quote all the
            # same. Goes when none of them runs: they live a year at most.
            answered = not self._now.state.unanswered
            if answered and workflow.patched("quotes until it is answered"):
                raise self._lifecycle.refused()
            return await self._previewed()

    @quote.validator
    def _may_quote(self) -> None:
        self._lifecycle.require_allowed("quote")

    # What others may tell.

    @workflow.signal
    def directory_changed(self) -> None:
        """Something changed that may block it, clear it, or have ended it."""
        self._directory_changed = True

    @workflow.signal
    def remind(self, run: str | None = None) -> None:
        """It may be time for a reminder; asked in vain, or twice, it does nothing (REM-1)."""
        # A worker of before has let the signal pass, and this must do so again where it is
        # replayed. Goes when no invitation of before runs: they live a year at most.
        if self._may_remind() and workflow.patched("reminds when asked"):
            number = self._now.reminders_sent + 1
            self._start_reminding(DueReminder(number=number, run=run))

    # What others may look at.

    @workflow.query
    def view(self) -> Invitation:
        """The invitation as it stands; links are added where they are shown."""
        return self._now

    # The rules of an answer.

    def _require_in_time(self, event: str) -> None:
        """An answer at exactly the deadline is late (INV-6)."""
        self._lifecycle.require(event)
        self._require_not_expired()

    def _require_not_expired(self) -> None:
        if self._now.expires_at and self._now.expires_at <= workflow.now():
            raise Refused(ErrorCode.EXPIRED, "The invitation has expired.")

    def _may_remind(self) -> bool:
        """Whether it is time for a reminder, and no other e-mail is on its way (REM-1)."""
        now, policy = workflow.now(), self._invite.policy
        due, deadline = self._now.remindable_from(policy), self._now.expires_at
        return (
            due is not None
            and due <= now
            and not (deadline and deadline <= now)
            and not (self._mail_due or self._reminder)
            # An invitation e-mail that came late, after a resend, is news as well.
            and not (self._mailed_at and now < self._mailed_at + policy.remind_after)
        )

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
    return {
        "Invitee": f"{masked(invitation.email)}, as {invitation.license}",
        "Account": f"`{invitation.account}`, invited by {masked(invitation.invited_by)}",
        "Goes out": _moment(invitation.goes_out_at),
        "Answer until": _moment(invitation.expires_at),
        "Deadline paused": f"with {invitation.time_left} left" if invitation.time_left else "",
        "Invitation e-mails": str(invitation.sent_count),
        "Reminders": str(invitation.reminders_sent or ""),
        "Blocked by": "; ".join(_blocked_by(blocker) for blocker in invitation.blockers),
        "Settlement": _settled(invitation.settlement),
        "Moved along": ", ".join(f"{item.item} {item.status}" for item in invitation.manifest),
    }


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else ""


def _blocked_by(blocker: Blocker) -> str:
    """The code and how many of what; ids of users are addresses, so they are not named."""
    kinds = Counter(item.kind for item in blocker.items)
    return f"{blocker.code} ({', '.join(f'{kind} × {n}' for kind, n in kinds.items())})"


def _settled(settlement: Settlement | None) -> str:
    if settlement is None:
        return ""
    amount = f"{settlement.kind} of {settlement.amount.amount:f} {settlement.amount.currency}"
    if settlement.arrives_between is None:
        return amount
    first, last = settlement.arrives_between
    return f"{amount}, arrives between {first} and {last}"
