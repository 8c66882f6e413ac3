"""The acceptance of an invitation and its completion: settlement, move, letters (INV-11)."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import TypedDict

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import ActivityConfig, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.invitation import (
        InvitationActivities,
        JoinAccount,
        PreviewInvitation,
        RecordInvitation,
    )
    from activities.move import MoveActivities, MoveData
    from activities.refund import ReadRefund, RefundActivities
    from domain.error import Refused
    from domain.invitation import CarriedInvitation, Choice, InvitationState
    from domain.journal import ENGINE
    from domain.manifest import GIVE_UP_AFTER, Manifest, failed, unfinished, with_running_items
    from domain.preview import Preview
    from domain.quote import RecordedQuote
    from domain.refund import Refund, RefundPlan, StartRefund
    from workflows.invitation_details import InvitationLifecycle
    from workflows.lifecycle import refusal_from
    from workflows.options import MOVE, READ, STORE, mail
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

    __slots__ = ("_letter_lock", "_lifecycle", "_notified", "_quote", "_refund")

    def __init__(self, lifecycle: InvitationLifecycle, carried: CarriedInvitation | None) -> None:
        self._lifecycle = lifecycle
        self._quote = carried.quote if carried else None
        self._refund = carried.refund if carried else None
        self._notified = False
        # Two concurrent activities would both find a letter unsent, and send it twice.
        self._letter_lock = asyncio.Lock()

    def carried(self) -> CarriedCompletion:
        """Return the state to carry over to the next run."""
        return CarriedCompletion(quote=self._quote, refund=self._refund)

    async def preview(self) -> Preview:
        """Return the effects of accepting; their quote is binding from now on (QUO-5)."""
        try:
            previewed = await workflow.execute_activity_method(
                InvitationActivities.preview_invitation,
                PreviewInvitation(
                    invite=self._lifecycle.invite, at=workflow.now(), recorded=self._quote
                ),
                **READ | ActivityConfig(summary="Preview the acceptance"),
            )
        except ActivityError as failure:
            raise refusal_from(failure) from None
        self._quote = previewed.quote
        return previewed.preview

    async def join_by_managed_domain(self) -> None:
        """Make the person a member at once if their domain is managed (INV-18)."""
        async with self._lifecycle.update_lock:
            with suppress(Refused):
                await self.join("join", by=ENGINE, by_managed_domain=True)

    async def join(
        self, event: str, *, by: str, choice: Choice | None = None, by_managed_domain: bool = False
    ) -> None:
        """Commit membership and settlement, then apply the stored record (INV-11)."""
        try:
            joined = await workflow.execute_activity_method(
                InvitationActivities.join_account,
                JoinAccount(
                    invite=self._lifecycle.invite,
                    invitation=self._lifecycle.next_record(event, by=by),
                    choice=choice,
                    quote=self._quote,
                    by_managed_domain=by_managed_domain,
                ),
                **STORE | ActivityConfig(summary="Commit membership and settlement"),
            )
        except ActivityError as failure:
            raise refusal_from(failure) from None
        self._refund, self._notified = joined.refund, joined.notified
        self._lifecycle.apply(joined.invitation)

    async def settle(self) -> None:
        """Run the refund; a transfer was booked together with the membership (REF, CRD)."""
        invitation = self._lifecycle.record
        settlement, begins = invitation.settlement, invitation.state is InvitationState.ACCEPTED
        if self._refund:
            if begins:
                self._lifecycle.apply(self._lifecycle.next_record("refund", by=ENGINE))
            await asyncio.gather(self._notify_early(), self._run_refund(self._refund))
        elif begins and settlement and settlement.kind is Choice.TRANSFER:
            self._lifecycle.apply(self._lifecycle.next_record("transfer", by=ENGINE))

    async def _run_refund(self, plan: RefundPlan) -> None:
        """Run the refund until it is settled, converted or closed; restart it if it is ended.

        A refund may also change while no workflow of it runs (REF-6).
        """
        stored = await self._refund_result(StartRefund(plan=plan))
        for pause in chain(REFUND_RESTARTED_AFTER, repeat(REFUND_RESTARTED_AFTER[-1])):
            if stored and stored.state.finished:
                return
            if pause:
                await workflow.sleep(pause, summary="Check the refund again")
            stored = await workflow.execute_activity_method(
                RefundActivities.read_refund,
                ReadRefund(refund_id=plan.refund_id),
                **STORE | ActivityConfig(summary="Read the refund"),
            )
            if not stored.state.finished:
                stored = await self._refund_result(StartRefund(plan=plan, carried=stored))

    async def _refund_result(self, start: StartRefund) -> Refund | None:
        """Return the finished refund; None if it was ended from outside or runs already."""
        try:
            return await workflow.execute_child_workflow(
                RefundWorkflow.run,
                start,
                **start_options(start),
                parent_close_policy=ParentClosePolicy.ABANDON,
            )
        except (ChildWorkflowError, WorkflowAlreadyStartedError):
            return None

    async def move(self) -> None:
        """Move the person's data; send the letters before a retry, which may take a day (TRF-1)."""
        if unfinished(self._lifecycle.record.manifest):
            await self._move_data(with_running_items(self._lifecycle.record.manifest))
        if unfinished(self._lifecycle.record.manifest):
            give_up_at = workflow.now() + GIVE_UP_AFTER
            retry = self._move_data(
                with_running_items(self._lifecycle.record.manifest), give_up_at=give_up_at
            )
            await asyncio.gather(self._notify_early(), retry)

    async def retry_move(self) -> None:
        """Move the failed items once more (TRF-1)."""
        manifest = self._lifecycle.record.manifest
        if failed(manifest):
            await self._move_data(
                with_running_items(manifest, again=True), give_up_at=workflow.now()
            )
            if self._lifecycle.record.state.final:
                await self._notify_everyone()

    async def _move_data(self, manifest: Manifest, *, give_up_at: datetime | None = None) -> None:
        invite = self._lifecycle.invite
        self._apply_manifest(manifest)
        moved = await workflow.execute_activity_method(
            MoveActivities.move_data,
            MoveData(
                invitation_id=invite.invitation_id,
                account=invite.account,
                email=invite.email,
                manifest=manifest,
                at=workflow.now(),
                give_up_at=give_up_at,
            ),
            **MOVE | ActivityConfig(summary="Move the person's data"),
        )
        self._apply_manifest(moved.manifest)

    def _apply_manifest(self, manifest: Manifest) -> None:
        invitation = self._lifecycle.record
        with_errors = invitation.state.final and failed(manifest)
        self._lifecycle.apply(
            invitation.model_copy(update={"manifest": manifest, "with_errors": with_errors})
        )

    async def complete(self) -> None:
        """Complete the accepted invitation and notify everyone."""
        # A retry of failed items may still run.
        await workflow.wait_condition(workflow.all_handlers_finished)
        with_errors = failed(self._lifecycle.record.manifest)
        self._lifecycle.apply(
            self._lifecycle.next_record("complete", by=ENGINE, with_errors=with_errors)
        )
        await self._notify_everyone()

    async def notify_of_end(self) -> None:
        """Notify everyone of the end, unless the acceptance has already."""
        if not self._notified:
            invite = self._lifecycle.invite
            await self._lifecycle.start_notice(f"notice/{invite.account}/{invite.invitation_id}")

    async def _notify_early(self) -> None:
        """Notify everyone of the acceptance before a step that may take days."""
        if not self._notified:
            self._notified = True
            await self._notify_everyone()

    async def _notify_everyone(self) -> None:
        """Write the record and send the letters not sent yet; each goes out once."""
        async with self._letter_lock:
            await workflow.execute_activity_method(
                InvitationActivities.close_invitation,
                RecordInvitation(invite=self._lifecycle.invite, invitation=self._lifecycle.record),
                **mail("Write the record, send the letters"),
            )
