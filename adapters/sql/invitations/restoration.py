"""Invitations that a restored database lacks, written again as Temporal or the provider shows them.

Each keeps its ids: those of the invitation, its run, its refund and its ledger entries (OPS-6).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from activities.invitation import JoinAccount, KeptInvitation, with_delivery
from adapters.sql.database.schema import InvitationRow
from adapters.sql.database.transaction import advisory_lock_on_invitee, writing
from adapters.sql.invitations.acceptance import commit_acceptance
from adapters.sql.invitations.record import locked_invitation, release_claim, store_record
from adapters.sql.licenses.counter import reserve
from adapters.sql.membership import require_account
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, Invitation, InvitationState, Invite, License
from domain.journal import ENGINE, INVITEE
from domain.money import Money
from domain.quote import Returnable
from domain.refund import RefundPlan
from states.invitation import InvitationMachine
from states.lifecycle import after, refusal

FOUND_AT_PROVIDER = "Its refund was found at the payment provider."
"""The note of an acceptance that only the payment provider remembers."""

AT_ONCE = timedelta()


class SqlRestoration:
    """Writes what a restored database lacks; every method may be repeated."""

    def __init__(self, engine: AsyncEngine, returnable: Returnable) -> None:
        self._engine = engine
        self._returnable = returnable

    async def insert(self, invite: Invite, record: Invitation, run_id: str, at: datetime) -> None:
        """Insert the invitation, bound to its run; reserve its seat if one is free (INV-15).

        Without a free seat its acceptance is refused, as after a reduction. Raises Refused:
        `not_found` (no such account), `invariant_broken` (another one is live).
        """
        async with writing(self._engine) as session:
            await advisory_lock_on_invitee(session, invite.email)
            await require_account(session, invite.account, lock=True)
            row = await session.get(InvitationRow, invite.invitation_id, with_for_update=True)
            if row is None:
                await _release_claim(session, invite, at)
                needs_seat = invite.license is License.LICENSED and record.state.unanswered
                row = InvitationRow(
                    invitation_id=invite.invitation_id,
                    account_id=invite.account,
                    invitee_key=invite.key,
                    email=invite.email,
                    claimed_at=at,
                    seat_reserved=needs_seat and await reserve(session, invite.account),
                    ordered=invite,
                )
                store_record(row, record)
                session.add(row)
            if row.record.state.unanswered and row.run_id != run_id:
                row.run_id = None
                store_record(row, row.record.model_copy(update={"run_id": run_id}))

    async def accept(self, request: JoinAccount, shown: KeptInvitation) -> None:
        """Commit the acceptance again; `shown` is the result of the first time.

        Raises Refused, with nothing changed, as `InvitationStore.join` does, and `conflict` if it
        would settle another amount.
        """
        async with writing(self._engine) as session:
            kept = await self._commit(session, request, request.invitation.journal[-1].at)
            _require_accepted(kept.invitation)
            if _settlement(kept) != _settlement(shown):
                raise Refused(
                    ErrorCode.CONFLICT,
                    "The restored accounts would settle it differently: their subscriptions or"
                    " payments are others.",
                )

    async def accept_refunded(
        self, invitation_id: str, returned: Sequence[tuple[str, Money]], at: datetime
    ) -> None:
        """Commit an acceptance of which only the provider's refund is left.

        `returned` are the payments with the amounts that it has returned. Raises Refused, with
        nothing changed, as `InvitationStore.join` does, and `conflict` if it would return others.
        """
        async with writing(self._engine) as session:
            row = await locked_invitation(session, invitation_id)
            request = JoinAccount(
                invite=row.ordered,
                invitation=_accepted(row, at),
                choice=Choice.REFUND,
            )
            kept = await self._commit(session, request, at)
            _require_accepted(kept.invitation)
            planned = _shares(kept.refund)
            if any(share not in planned for share in returned):
                raise Refused(
                    ErrorCode.CONFLICT,
                    "The restored accounts would return another amount than the provider has.",
                )

    async def _commit(
        self, session: AsyncSession, request: JoinAccount, at: datetime
    ) -> KeptInvitation:
        return (
            await commit_acceptance(session, request, at, AT_ONCE, returnable=self._returnable)
        ).kept


async def _release_claim(session: AsyncSession, invite: Invite, at: datetime) -> None:
    """Release the claim of another request for the same person, if its workflow never started.

    It was released in the lost database as well, or `invite` could not have started.
    """
    claim = await session.scalar(
        select(InvitationRow)
        .where(
            InvitationRow.account_id == invite.account,
            InvitationRow.invitee_key == invite.key,
            InvitationRow.ended_at.is_(None),
            InvitationRow.run_id.is_(None),
        )
        .with_for_update()
    )
    if claim:
        await release_claim(session, claim, at)


def _require_accepted(invitation: Invitation) -> None:
    if not invitation.state.accepted:
        raise refusal(InvitationMachine, invitation, "accept")


def _settlement(kept: KeptInvitation) -> object:
    settlement = kept.invitation.settlement
    return settlement and (settlement.kind, settlement.amount, _shares(kept.refund))


def _shares(plan: RefundPlan | None) -> list[tuple[str, Money]]:
    return [(part.payment, part.amount) for part in plan.parts] if plan else []


def _accepted(row: InvitationRow, at: datetime) -> Invitation:
    """Return the record after the steps that lead to the acceptance."""
    record = row.record
    if record.state is InvitationState.ANNOUNCED:
        record = after(InvitationMachine, record, "invite", at=at, by=ENGINE)
    record = with_delivery(record, at, row.ordered.policy)
    return after(InvitationMachine, record, "accept", at=at, by=INVITEE, note=FOUND_AT_PROVIDER)
