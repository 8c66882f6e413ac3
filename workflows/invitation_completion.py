"""The acceptance of an invitation and its completion: settlement and move (INV-11)."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import TypedDict

from temporalio import workflow
from temporalio.exceptions import (
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import (
    ActivityConfig,
    ChildWorkflowCancellationType,
    ParentClosePolicy,
)

with workflow.unsafe.imports_passed_through():
    from activities.invitation import (
        InvitationActivities,
        JoinAccount,
        PreviewInvitation,
    )
    from activities.move import MoveData
    from activities.refund import ReadRefund, RefundActivities
    from domain.error import ErrorCode, Refused, unless_refused
    from domain.invitation import CarriedInvitation, Choice, InvitationState
    from domain.journal import ENGINE, OPERATOR
    from domain.manifest import (
        GIVE_UP_AFTER,
        Manifest,
        ManifestItem,
        failed,
        failed_items,
        unfinished_items,
        with_items,
    )
    from domain.money import Money
    from domain.preview import Preview
    from domain.quote import RecordedQuote
    from domain.refund import Refund, RefundPlan, RefundSummary, StartRefund
    from workflows.invitation_details import InvitationLifecycle
    from workflows.move import move_items, running
    from workflows.options import READ, STORE
    from workflows.refund import RefundWorkflow, start_options

REFUND_RESTARTED_AFTER = (
    timedelta(0),
    timedelta(minutes=1),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
)
"""Delays before a refund that was ended from outside is restarted; the last one is repeated.

The first restart is immediate, since a single termination is usually a mistake. A refund that
fails each time must not fill the history.
"""


class CarriedCompletion(TypedDict):
    """State of quote and refund that continue-as-new carries over."""

    quote: RecordedQuote | None
    refund: RefundPlan | None


class InvitationCompletion:
    """The binding quote, the acceptance, and the steps that follow it."""

    __slots__ = ("_cancellation", "_lifecycle", "_quote", "_retry_lock")

    def __init__(self, lifecycle: InvitationLifecycle, carried: CarriedInvitation | None) -> None:
        self._lifecycle = lifecycle
        self._quote = carried.quote if carried else None
        self._cancellation: asyncio.Task[None] | None = None
        self._retry_lock = asyncio.Lock()

    def carried(self) -> CarriedCompletion:
        """Return the state to carry over to the next run."""
        return CarriedCompletion(quote=self._quote, refund=self._lifecycle.refund)

    async def preview(self, *, by: str) -> Preview:
        """Return the effects of accepting; their quote is binding from now on (QUO-5).

        `by` is the author of a quote that was not shown before (OPS-8).
        """
        previewed = unless_refused(
            await workflow.execute_activity_method(
                InvitationActivities.preview_invitation,
                PreviewInvitation(
                    invite=self._lifecycle.invite, at=workflow.now(), recorded=self._quote, by=by
                ),
                **READ | ActivityConfig(summary="Preview the acceptance"),
            )
        )
        self._quote = previewed.quote
        return previewed.preview

    @property
    def recorded_quote(self) -> RecordedQuote | None:
        """The quote that was shown last, if any (QUO-5)."""
        return self._quote

    async def require_shown(self, amount: Money | None, *, by: str) -> None:
        """Raise Refused(quote_expired) unless the binding quote is that of the page answered.

        Another page may have recorded a newer quote since.
        """
        if amount is None or (self._quote and self._quote.quote.total == amount):
            return
        if (await self.preview(by=by)).amount != amount:
            raise Refused(ErrorCode.QUOTE_EXPIRED, "The quote that was shown has changed.")

    async def join_by_managed_domain(self) -> None:
        """Make the person a member at once if their domain is managed (INV-18)."""
        async with self._lifecycle.update_lock:
            with suppress(Refused):
                await self.join("join", by=ENGINE, by_managed_domain=True)

    async def join(
        self,
        event: str,
        *,
        by: str,
        note: str | None = None,
        choice: Choice | None = None,
        by_managed_domain: bool = False,
    ) -> None:
        """Commit membership and settlement, then continue from the kept record (INV-11)."""
        joined = await workflow.execute_activity_method(
            InvitationActivities.join_account,
            JoinAccount(
                invite=self._lifecycle.invite,
                invitation=self._lifecycle.next_record(event, by=by, note=note),
                choice=choice,
                quote=self._quote,
                by_managed_domain=by_managed_domain,
            ),
            **STORE | ActivityConfig(summary="Commit membership and settlement"),
        )
        self._lifecycle.keep(unless_refused(joined))

    async def settle(self) -> None:
        """Run the refund; a transfer was booked together with the membership (REF, CRD)."""
        invitation, refund = self._lifecycle.record, self._lifecycle.refund
        settlement, begins = invitation.settlement, invitation.state is InvitationState.ACCEPTED
        if refund:
            if begins:
                self._lifecycle.apply(self._lifecycle.next_record("refund", by=ENGINE))
            await self._run_refund(refund)
        elif begins and settlement and settlement.kind is Choice.TRANSFER:
            self._lifecycle.apply(self._lifecycle.next_record("transfer", by=ENGINE))

    async def _run_refund(self, plan: RefundPlan) -> None:
        """Run the refund until it is settled, converted or closed; restart it if it is ended.

        A refund may also change while no workflow of it runs (REF-6).
        """
        stored: Refund | RefundSummary | None = await self._refund_result(StartRefund(plan=plan))
        for pause in chain(REFUND_RESTARTED_AFTER, repeat(REFUND_RESTARTED_AFTER[-1])):
            if stored and stored.state.finished:
                return
            await self._wait_for_store(pause)
            stored = await workflow.execute_activity_method(
                RefundActivities.read_refund,
                ReadRefund(refund_id=plan.refund_id),
                **STORE | ActivityConfig(summary="Read the refund"),
            )
            if not stored.state.finished:
                stored = await self._refund_result(StartRefund(plan=plan, carried=stored))

    async def _wait_for_store(self, at_most: timedelta) -> None:
        """Wait until a signal reports that the store has changed."""
        if at_most:
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._lifecycle.store_changed,
                    timeout=at_most,
                    timeout_summary="Check the refund again",
                )
        self._lifecycle.store_changed = False

    async def _refund_result(self, start: StartRefund) -> RefundSummary | None:
        """Return the finished refund; None if it was ended from outside or runs already."""
        try:
            return await workflow.execute_child_workflow(
                RefundWorkflow.run,
                start,
                **start_options(start),
                parent_close_policy=ParentClosePolicy.ABANDON,
                # Money that is being paid out continues (OPS-10).
                cancellation_type=ChildWorkflowCancellationType.ABANDON,
            )
        except (ChildWorkflowError, WorkflowAlreadyStartedError):
            return None

    async def move(self) -> None:
        """Move the person's data; a failing item is retried for a day (TRF-1)."""
        if items := unfinished_items(self._lifecycle.record.manifest):
            await self._move_items(items)
        if items := unfinished_items(self._lifecycle.record.manifest):
            await self._move_items(items, give_up_at=workflow.now() + GIVE_UP_AFTER)

    async def retry_move(self) -> None:
        """Move the failed items once more (TRF-1).

        Unfinished items are left to the move that retries them.
        """
        async with self._retry_lock:
            if items := failed_items(self._lifecycle.record.manifest):
                await self._move_items(items, give_up_at=workflow.now())

    async def _move_items(self, items: Manifest, *, give_up_at: datetime | None = None) -> None:
        invite = self._lifecycle.invite
        self._apply_items(running(items))
        moved = await move_items(
            MoveData(
                invitation_id=invite.invitation_id,
                account=invite.account,
                email=invite.email,
                items=items,
                at=workflow.now(),
                give_up_at=give_up_at,
            ),
            "Move the person's data",
        )
        requested = {item.item for item in items}
        self._apply_items(item for item in moved.manifest if item.item in requested)

    def _apply_items(self, items: Iterable[ManifestItem]) -> None:
        """Apply the items of one move; a concurrent one moves others."""
        invitation = self._lifecycle.record
        manifest = with_items(invitation.manifest, items)
        with_errors = invitation.state.final and failed(manifest)
        self._lifecycle.apply(
            invitation.model_copy(update={"manifest": manifest, "with_errors": with_errors})
        )

    async def complete(self) -> None:
        """Complete the accepted invitation."""
        # A retry of failed items may still run.
        await workflow.wait_condition(workflow.all_handlers_finished)
        async with self._lifecycle.update_lock:
            with_errors = failed(self._lifecycle.record.manifest)
            await self._lifecycle.write(
                self._lifecycle.next_record("complete", by=ENGINE, with_errors=with_errors)
            )

    def cancel_requested(self) -> None:
        """Record that a cancellation was requested in Temporal, and continue (OPS-10)."""
        self._cancellation = asyncio.create_task(self._lifecycle.retried(self._record_cancellation))

    async def _record_cancellation(self) -> None:
        async with self._lifecycle.update_lock:
            await self.record_cancellation_locked()

    async def record_cancellation_locked(self) -> None:
        """Record a requested cancellation. The caller holds the update lock."""
        if not self._lifecycle.record.state.final:
            await self._lifecycle.write(
                self._lifecycle.next_record(
                    "cancel_requested", by=OPERATOR, note="It is accepted, so it continues."
                )
            )
