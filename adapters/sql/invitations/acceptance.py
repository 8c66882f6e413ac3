"""Acceptance in the store: load the facts under locks, decide, write the decision (INV-11)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from activities.invitation import JoinAccount, Joined, KeptInvitation
from adapters.calendar import calendar_of
from adapters.sql.database.schema import (
    UNANSWERED,
    AccountRow,
    InvitationRow,
    MembershipRow,
    PersonRow,
    SubscriptionRow,
)
from adapters.sql.database.transaction import advisory_lock_on_invitee, insert_missing
from adapters.sql.invitations.blocker import blockers_of
from adapters.sql.invitations.letter import queue_invitation_letters
from adapters.sql.invitations.record import (
    assign_seat,
    free_seats,
    kept_invitation,
    release_seat,
    store_record,
    unknown_invitation,
)
from adapters.sql.licenses.pool import leave
from adapters.sql.managed_domain import release_domains
from adapters.sql.membership import (
    current_membership,
    is_admin,
    load_source,
    locked_accounts,
    membership_of,
)
from adapters.sql.money.order import end_orders, release_licenses
from adapters.sql.money.settlement import write_settlement
from adapters.sql.outbox import signal_invitation, signal_owners
from domain.acceptance import (
    SUPERSEDED,
    Acceptance,
    AcceptanceFacts,
    Closing,
    TargetAccount,
    decide_acceptance,
)
from domain.account import Role
from domain.invitation import Invite
from domain.journal import ENGINE, JournalEntry
from domain.order import Order
from domain.quote import Returnable
from states.invitation import InvitationMachine
from states.lifecycle import after


@dataclass(frozen=True)
class _Rows:
    """The locked rows that an acceptance changes."""

    invitation: InvitationRow
    others: Sequence[InvitationRow]
    """The person's other open invitations."""
    person: PersonRow
    membership: MembershipRow | None
    accounts: Mapping[str, AccountRow]


async def commit_acceptance(
    session: AsyncSession,
    request: JoinAccount,
    at: datetime,
    letters_after: timedelta,
    *,
    returnable: Returnable,
) -> Joined:
    """Move the person, once, and settle their money; return the kept record.

    `at` is the time at which the request is carried out. Their other open invitations end as
    superseded (INV-14). Raises Refused as documented at
    `InvitationStore.join`.
    """
    invite, received_at = request.invite, request.invitation.journal[-1].at
    await advisory_lock_on_invitee(session, invite.email)
    invitation, others = await _lock_invitations(session, invite)
    if not invitation.record.state.unanswered:
        return Joined(await kept_invitation(session, invitation), [])
    rows = await _lock_rows(session, invite, invitation, others)
    facts = await _load_facts(session, request, rows, at, returnable)
    acceptance = decide_acceptance(facts)
    await _write(session, rows, acceptance, request.invitation.journal[-1])
    letters = await queue_invitation_letters(session, invitation, received_at, after=letters_after)
    kept = KeptInvitation(invitation=invitation.record, refund=acceptance.refund)
    return Joined(kept, letters)


async def _lock_invitations(
    session: AsyncSession, invite: Invite
) -> tuple[InvitationRow, Sequence[InvitationRow]]:
    """Lock the invitation and the person's other open ones, in the order of their ids."""
    own = InvitationRow.invitation_id == invite.invitation_id
    found = await session.scalars(
        select(InvitationRow)
        .where(own | ((InvitationRow.email == invite.email) & UNANSWERED))
        .order_by(InvitationRow.invitation_id)
        .with_for_update()
    )
    rows = {row.invitation_id: row for row in found}
    invitation = rows.pop(invite.invitation_id, None)
    if invitation is None:
        raise unknown_invitation(invite.invitation_id)
    return invitation, list(rows.values())


async def _lock_rows(
    session: AsyncSession,
    invite: Invite,
    invitation: InvitationRow,
    others: Sequence[InvitationRow],
) -> _Rows:
    """Lock the person, and then by id the accounts that they join, leave or are invited to."""
    await insert_missing(session, PersonRow, [{"email": invite.email, "name": invite.name}])
    person = await session.get_one(PersonRow, invite.email, with_for_update=True)
    membership = await current_membership(session, invite.email)
    left = [membership.account_id] if membership else []
    invited = [other.account_id for other in others]
    accounts = await locked_accounts(session, [invite.account, *left, *invited])
    return _Rows(invitation, others, person, membership, accounts)


async def _load_facts(
    session: AsyncSession,
    request: JoinAccount,
    rows: _Rows,
    at: datetime,
    returnable: Returnable,
) -> AcceptanceFacts:
    """Return everything that the decision depends on; the request is carried out at `at`."""
    invite, target = request.invite, rows.accounts[request.invite.account]
    source = await load_source(session, rows.membership)
    return AcceptanceFacts(
        at=request.invitation.journal[-1].at,
        carried_out_at=at,
        invite=invite,
        accepted=request.invitation,
        choice=request.choice,
        shown=request.quote,
        by_managed_domain=request.by_managed_domain,
        target=TargetAccount(
            id=target.id,
            currency=target.currency,
            paid=target.paid,
            suspended=target.suspended,
            state=target.state,
            managed_domains=target.managed_domains,
        ),
        membership=await membership_of(session, invite, rows.membership),
        source=source,
        blockers=await blockers_of(session, source, invite.email),
        chat_messages=rows.person.chat_messages,
        seat_reserved=rows.invitation.seat_reserved,
        free_seats=await free_seats(session, invite),
        inviter_administers=await is_admin(session, invite.account, invite.invited_by),
        calendar_of=calendar_of,
        returnable=returnable,
    )


async def _write(
    session: AsyncSession, rows: _Rows, acceptance: Acceptance, accepted: JournalEntry
) -> None:
    """Write the decision: seat, source account, membership, other invitations, record."""
    invitation, record, at = rows.invitation, acceptance.record, accepted.at
    if acceptance.takes_seat:
        await assign_seat(session, invitation)
    if rows.membership:
        await _leave(session, rows, rows.membership, acceptance.closing, accepted)
    session.add(
        MembershipRow(
            account_id=invitation.account_id,
            email=invitation.email,
            role=Role.MEMBER,
            licensed=acceptance.takes_seat,
            licensed_at=at if acceptance.takes_seat else None,
            origin="invitation",
            invitation_id=invitation.invitation_id,
            since=at,
            chat_before=rows.person.chat_messages,
        )
    )
    await signal_owners(session, acceptance.changed_accounts, at)
    for other in rows.others:
        await _supersede(session, other, at)
    if acceptance.complete:
        record = after(InvitationMachine, record, "complete", at=at, by=ENGINE)
    store_record(invitation, record)


async def _leave(
    session: AsyncSession,
    rows: _Rows,
    membership: MembershipRow,
    closing: Closing | None,
    accepted: JournalEntry,
) -> None:
    """End the membership, return its licenses, and close an owner's account (SRC-2)."""
    at = accepted.at
    ended = await _close(session, rows.accounts, closing, accepted) if closing else []
    await leave(session, membership, at)
    # A statement, which precedes the new membership: a person is on one account at a time.
    await session.execute(
        update(MembershipRow)
        .where(MembershipRow.id == membership.id)
        .values(until=at, leaving=f"invitation:{rows.invitation.invitation_id}")
    )
    # After `leave`: it records the add-on of the owner, of which the admins are notified (TRF-3).
    await release_licenses(session, ended, at)


async def _close(
    session: AsyncSession,
    accounts: Mapping[str, AccountRow],
    closing: Closing,
    accepted: JournalEntry,
) -> list[Order]:
    """Close the source account, end its orders and settle its money; return its paid orders."""
    at = accepted.at
    source, target = accounts[closing.closure.source], accounts[closing.closure.target]
    # Before the settlement: the credit reserved for unpaid orders is settled with the rest.
    ended = await end_orders(session, source, at)
    await write_settlement(session, closing, target, at, by=accepted.by)
    source.state = "closed"
    # Otherwise no account could verify them (INV-18).
    await release_domains(session, source)
    lines = await session.scalars(
        select(SubscriptionRow).where(
            SubscriptionRow.account_id == source.id, SubscriptionRow.ended.is_(None)
        )
    )
    for line in lines:
        line.ended = at
    return ended


async def _supersede(session: AsyncSession, other: InvitationRow, at: datetime) -> None:
    """End another invitation of the person, release its seat, notify its workflow (INV-14)."""
    await release_seat(session, other, at)
    store_record(
        other,
        after(InvitationMachine, other.record, "supersede", at=at, by=ENGINE, note=SUPERSEDED),
    )
    await queue_invitation_letters(session, other, at)
    signal_invitation(session, other, at)
