"""The workflow of one invitation, from the first e-mail to its end (INV)."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from statemachine.exceptions import TransitionNotAllowed

    from activities.invitation import AuthorizeAdmin, InvitationActivities
    from domain.error import ErrorCode, Refused, unless_refused
    from domain.invitation import (
        AcceptInvitation,
        CarriedInvitation,
        DeclineInvitation,
        Invitation,
        InvitationState,
        QuoteInvitation,
        RecheckInvitation,
        ResendInvitation,
        RevokeInvitation,
        StartInvitation,
    )
    from domain.invitee_page import InvitationOffer
    from domain.journal import ENGINE, INVITEE, OPERATOR, day_of
    from domain.preview import Preview
    from states.invitation import InvitationMachine, initial_record
    from workflows.cancellation import uncancelled
    from workflows.invitation_blockers import InvitationBlockers
    from workflows.invitation_completion import InvitationCompletion
    from workflows.invitation_details import InvitationLifecycle
    from workflows.invitation_mail import InvitationMail
    from workflows.options import READ

UPDATES_PER_RUN = 1_000
"""Updates before continue-as-new: half of what the server accepts in one run."""


class DueTimer(NamedTuple):
    """A time at which the workflow acts without a message."""

    at: datetime
    summary: str


@workflow.defn(name="Invitation", failure_exception_types=[Refused, TransitionNotAllowed])
class InvitationWorkflow:
    """One invitation: sends it, waits for the answer and completes it."""

    __slots__ = ("_blockers", "_completion", "_lifecycle", "_mail", "_updates")

    updates_per_run = UPDATES_PER_RUN

    @workflow.init
    def __init__(self, start: StartInvitation) -> None:
        """Restore the state carried over from the previous run, if any."""
        invite, carried = start.invite, start.carried
        run_id = workflow.info().first_execution_run_id
        if carried is None:
            record = initial_record(invite, run_id=run_id, at=workflow.now())
        elif carried.invitation.run_id:
            record = carried.invitation
        else:
            record = carried.invitation.model_copy(update={"run_id": run_id})
        self._lifecycle = InvitationLifecycle(invite, record, carried.refund if carried else None)
        self._blockers = InvitationBlockers(self._lifecycle, carried)
        self._completion = InvitationCompletion(self._lifecycle, carried)
        self._mail = InvitationMail(self._lifecycle, self._blockers, self._completion, carried)
        self._updates = 0

    @property
    def _invitation(self) -> Invitation:
        return self._lifecycle.record

    @workflow.run
    async def run(self, start: StartInvitation) -> Invitation:
        """Run the invitation to its end; return its final record."""
        self._mail.start()
        await self._wait_for_end()
        self._mail.cancel()
        if self._invitation.state.accepted and not self._invitation.state.final:
            await uncancelled(self._complete(), self._completion.cancel_requested)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._invitation

    async def _complete(self) -> None:
        retried = self._lifecycle.retried
        await asyncio.gather(retried(self._completion.settle), retried(self._completion.move))
        await self._lifecycle.retried(self._completion.complete)

    # Waiting

    async def _wait_for_end(self) -> None:
        while self._invitation.state.unanswered:
            try:
                await self._wait_for_next_step()
            except (asyncio.CancelledError, ActivityError) as failure:
                # The eviction from a worker's cache has no reason.
                if workflow.cancellation_reason() is None or not is_cancelled_exception(failure):
                    raise
                await self._cancel()

    async def _wait_for_next_step(self) -> None:
        timer = self._due_timer()
        if self._blockers.recheck_requested:
            await self._lifecycle.retried(self._blockers.refresh_from_store)
        elif self._history_is_long():
            await self._continue_as_new()
        elif timer and timer.at <= workflow.now():
            await self._lifecycle.retried(self._run_due_step)
        else:
            await self._wait_for_change(timer)

    async def _cancel(self) -> None:
        """End the unanswered invitation, because the workflow was cancelled (OPS-10)."""
        async with self._lifecycle.update_lock:
            if self._invitation.state.unanswered:
                await self._lifecycle.end(
                    "revoke", by=OPERATOR, note="Its workflow was cancelled in Temporal."
                )
            else:
                await self._completion.record_cancellation_locked()

    def _due_timer(self) -> DueTimer | None:
        """Return the timer that is due first; None without timers."""
        invitation, timers = self._invitation, list[DueTimer]()
        if invitation.expires_at:
            timers.append(DueTimer(invitation.expires_at, "Deadline for the answer"))
        if invitation.state is InvitationState.ANNOUNCED and invitation.goes_out_at:
            timers.append(DueTimer(invitation.goes_out_at, "Send the invitation e-mail"))
        if recheck_at := self._blockers.recheck_at:
            timers.append(DueTimer(recheck_at, "Recheck the blockers"))
        return min(timers, default=None)

    async def _run_due_step(self) -> None:
        deadline = self._invitation.expires_at
        if deadline and deadline <= workflow.now():
            await self._expire()
        elif self._invitation.state is InvitationState.ANNOUNCED:
            await self._mail.send_announced()
        else:
            await self._blockers.recheck()

    async def _expire(self) -> None:
        async with self._lifecycle.update_lock:
            # An answer or a resend from before the deadline may have held the lock.
            deadline = self._invitation.expires_at
            if self._invitation.state.unanswered and deadline and deadline <= workflow.now():
                await self._lifecycle.end("expire", by=ENGINE)

    async def _wait_for_change(self, timer: DueTimer | None) -> None:
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: (
                    not self._invitation.state.unanswered
                    or self._due_timer() != timer
                    or self._blockers.recheck_requested
                    or self._history_is_long()
                    or self._mail.failure is not None
                ),
                timeout=timer.at - workflow.now() if timer else None,
                timeout_summary=timer.summary if timer else None,
            )
        if failure := self._mail.failure:
            raise failure

    def _history_is_long(self) -> bool:
        suggested = workflow.info().is_continue_as_new_suggested()
        return suggested or self._updates >= self.updates_per_run

    async def _continue_as_new(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        # A task that records a delivery or a bounce holds the lock.
        async with self._lifecycle.update_lock:
            undisturbed = workflow.all_handlers_finished() and not self._blockers.recheck_requested
            if self._invitation.state.unanswered and undisturbed:
                workflow.continue_as_new(
                    StartInvitation(
                        invite=self._lifecycle.invite,
                        carried=CarriedInvitation(
                            invitation=self._invitation,
                            **self._mail.carried(),
                            **self._blockers.carried(),
                            **self._completion.carried(),
                        ),
                    )
                )

    # Updates

    @workflow.update
    async def accept(self, answer: AcceptInvitation) -> Invitation:
        """Accept; a repeat with the same choice, or none, returns the same record (INV-10)."""
        self._updates += 1
        async with self._lifecycle.update_lock:
            if not self._invitation.state.accepted:
                self._lifecycle.require("accept")
                await self._accept(answer)
            self._invitation.require_same_choice(answer.choice)
            if not self._invitation.state.accepted:
                raise self._lifecycle.refusal("accept")
            return self._invitation

    @accept.validator
    def _validate_accept(self, answer: AcceptInvitation) -> None:
        if answer.link_number not in (None, self._invitation.sent_count):
            raise Refused(ErrorCode.NOT_FOUND, "A newer link has replaced this one.")
        if self._invitation.state.accepted:
            self._invitation.require_same_choice(answer.choice)
        else:
            self._require_in_time("accept")

    @workflow.update
    async def decline(self, answer: DeclineInvitation) -> Invitation:
        """Decline, with a reason that the inviter sees (INV-7)."""
        self._updates += 1
        async with self._lifecycle.update_lock:
            await self._lifecycle.end("decline", by=answer.by, note=answer.reason)
            return self._require_ended_by("decline")

    @decline.validator
    def _validate_decline(self, answer: DeclineInvitation) -> None:
        self._require_in_time("decline")

    @workflow.update
    async def revoke(self, request: RevokeInvitation) -> Invitation:
        """Revoke the invitation (INV-7)."""
        self._updates += 1
        async with self._lifecycle.update_lock:
            self._lifecycle.require("revoke")
            await self._authorize(request.by)
            await self._lifecycle.end("revoke", by=request.author or request.by)
            return self._require_ended_by("revoke")

    @revoke.validator
    def _validate_revoke(self, request: RevokeInvitation) -> None:
        self._require_in_time("revoke")

    @workflow.update
    async def resend(self, request: ResendInvitation) -> Invitation:
        """Send a new link; the deadline starts again (INV-9)."""
        self._updates += 1
        async with self._lifecycle.update_lock:
            self._lifecycle.require("resend")
            await self._authorize(request.by)
            self._mail.require_cooled_down()
            resent = self._lifecycle.next_record(
                "resend",
                by=request.author or request.by,
                sent_count=self._invitation.sent_count + 1,
            )
            ttl = self._lifecycle.invite.policy.ttl
            await self._lifecycle.write(resent.with_time_left(ttl, since=workflow.now()))
            self._mail.start_delivery()
            return self._invitation

    @resend.validator
    def _validate_resend(self, request: ResendInvitation) -> None:
        self._require_in_time("resend")

    @workflow.update
    async def recheck(self, request: RecheckInvitation | None = None) -> Invitation:
        """Read the blockers from the store now (BLK-4)."""
        self._updates += 1
        async with self._lifecycle.update_lock:
            await self._blockers.refresh_locked(by=(request or RecheckInvitation()).by)
            if not self._invitation.state.unanswered:
                raise self._lifecycle.refusal("recheck")
            return self._invitation

    @recheck.validator
    def _validate_recheck(self, request: RecheckInvitation | None = None) -> None:
        self._lifecycle.require_allowed("recheck")
        self._require_not_expired("recheck")

    @workflow.update
    async def retry_move(self) -> Invitation:
        """Move the failed items once more (TRF-1)."""
        self._updates += 1
        await self._completion.retry_move()
        return self._invitation

    @retry_move.validator
    def _validate_retry_move(self) -> None:
        if not self._invitation.state.accepted:
            raise self._lifecycle.refusal("retry_move")

    @workflow.update
    async def quote(self, request: QuoteInvitation | None = None) -> Preview:
        """Preview the acceptance; nothing but the binding quote changes (QUO-8)."""
        self._updates += 1
        async with self._lifecycle.update_lock:
            # The update that held the lock before may have been the answer.
            if not self._invitation.state.unanswered:
                raise self._lifecycle.refusal("quote")
            return await self._completion.preview(by=(request or QuoteInvitation()).by)

    @quote.validator
    def _validate_quote(self, request: QuoteInvitation | None = None) -> None:
        self._lifecycle.require_allowed("quote")

    @workflow.update
    async def review(self) -> Preview:
        """Preview the acceptance for the invitee's last look before it (QUO-5).

        Blockers are recorded as at an acceptance, so that the invitation resumes by itself (BLK-4).
        """
        self._updates += 1
        async with self._lifecycle.update_lock:
            self._require_in_time("accept")
            preview = await self._completion.preview(by=INVITEE)
            if refused := await self._blockers.apply_previewed(preview.blockers, by=INVITEE):
                raise refused
            return preview

    @review.validator
    def _validate_review(self) -> None:
        self._require_in_time("accept")

    # Steps of the updates

    async def _accept(self, answer: AcceptInvitation) -> None:
        try:
            await self._completion.require_shown(answer.shown, by=answer.by)
            await self._completion.join(
                "accept", by=answer.by, note=answer.note, choice=answer.choice
            )
        except Refused as refused:
            await self._blockers.apply_refusal(refused, by=answer.by)
            if refused.code is not ErrorCode.QUOTE_EXPIRED:
                raise
            preview = await self._completion.preview(by=answer.by)
            quote = preview.model_dump(mode="json", by_alias=True)
            raise Refused(refused.code, refused.message, quote=quote) from None

    async def _authorize(self, admin: str) -> None:
        unless_refused(
            await workflow.execute_activity_method(
                InvitationActivities.authorize_admin,
                AuthorizeAdmin(account=self._lifecycle.invite.account, admin=admin),
                **READ | ActivityConfig(summary="Check that an admin requests it"),
            )
        )

    def _require_in_time(self, event: str) -> None:
        self._lifecycle.require(event)
        self._require_not_expired(event)

    def _require_not_expired(self, request: str) -> None:
        """Raise Refused from the deadline on; an answer at exactly the deadline is late (INV-6)."""
        deadline = self._invitation.expires_at
        if deadline and deadline <= workflow.now():
            participle = InvitationMachine.participles[request]
            raise Refused(
                ErrorCode.EXPIRED,
                f"Expired on {day_of(deadline)}; it can no longer be {participle}.",
            )

    def _require_ended_by(self, event: str) -> Invitation:
        """Return the invitation if `event` ended it. Raises Refused otherwise (INV-10)."""
        if self._invitation.journal[-1].event != event:
            raise self._lifecycle.refusal(event)
        return self._invitation

    # Signals

    @workflow.signal
    def directory_changed(self) -> None:
        """Refresh from the store: blockers may have changed, or the invitation may have ended."""
        self._lifecycle.store_changed = True
        self._blockers.request_recheck()

    @workflow.signal
    def remind(self, run: str | None = None) -> None:
        """Send a reminder if one is due; a repeated signal does nothing (REM-1)."""
        self._mail.remind(run)

    # Queries

    @workflow.query
    def view(self) -> Invitation:
        """Return the current record, without a link: clients sign and add it."""
        return self._invitation

    @workflow.query
    def offer(self) -> InvitationOffer:
        """Return the record with the quote that was shown last, for pages (QUO-5)."""
        return InvitationOffer(
            invitation=self._invitation,
            quote=self._completion.recorded_quote,
            at=workflow.now(),
            recheck_at=self._blockers.recheck_at,
            resend_from=self._mail.resend_from,
        )
