"""The transaction that commits a membership, and all that must be true at once (INV-11)."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.invitation import AccountJoined, JoinAccount
from adapters.sql.accounts.directory import load_account
from adapters.sql.announcement import announce, announce_change
from adapters.sql.database.schema import (
    AccountRow,
    InvitationRow,
    MembershipRow,
    PersonRow,
    SubscriptionRow,
)
from adapters.sql.database.transaction import alone_about, insert_missing
from adapters.sql.invitations.record import UNANSWERED, keep, locked_invitation, release_seat
from adapters.sql.licenses.pool import leave
from adapters.sql.membership import (
    administers,
    base_licenses,
    home,
    locked_accounts,
    require_invitable,
    require_paid,
)
from adapters.sql.money.order import end_orders, release_licenses
from adapters.sql.money.settlement import Settled, refund_of, settle
from domain.account import Account, Role, User
from domain.address import domain_of
from domain.blocker import find_blockers
from domain.error import ErrorCode, Refused
from domain.invitation import Invitation, Invite, License
from domain.journal import ENGINE
from domain.manifest import initial_manifest, unfinished
from domain.order import Order
from states.invitation import InvitationMachine
from states.lifecycle import after

INVITER_GONE = "The inviter no longer administers the account."
SUPERSEDED = "The person has accepted another invitation."


async def commit_acceptance(session: AsyncSession, order: JoinAccount) -> AccountJoined:
    """Move the person, once, and settle their money; the record that is kept then.

    Their other open invitations end here as superseded (INV-14). Raises Refused as
    `InvitationStore.join` says, in the order of the rules.
    """
    invite, at = order.invite, order.invitation.journal[-1].at
    await alone_about(session, invite.email)
    row, others = await _locked_invitations(session, invite)
    if not row.record.state.unanswered:
        refund = await refund_of(session, invite.invitation_id)
        return AccountJoined(invitation=row.record, refund=refund)
    person = await _locked_person(session, invite)
    source = await home(session, invite.email)
    accounts = await locked_accounts(
        session,
        {
            invite.account,
            source.account_id if source else invite.account,
            *(other.account_id for other in others),
        },
    )
    target = accounts[invite.account]
    if order.unasked:
        await _require_managed(session, target, source, invite.email)
    require_paid(target)
    await require_invitable(session, invite)
    await _take_seat(session, row, invite)
    left, settled = None, Settled()
    if source:
        left = await _account_left(session, source)
        settled = await _leave(session, order, source, left, accounts)
    manifest = initial_manifest(_leaver(left, person))
    _enter(session, invite, person, at)
    await announce(session, {target.id, source.account_id if source else target.id}, at)
    for other in others:
        await _supersede(session, other, at)
    accepted = await _noting_the_inviter(session, invite, order.invitation)
    changes = {
        "choice": settled.choice,
        "settlement": settled.settlement,
        "manifest": manifest,
    }
    accepted = accepted.model_copy(update=changes)
    if not settled.settlement and not unfinished(manifest):
        accepted = after(InvitationMachine, accepted, "complete", at=at, by=ENGINE)
    keep(row, accepted)
    return AccountJoined(invitation=row.record, refund=settled.refund)


async def _locked_invitations(
    session: AsyncSession, invite: Invite
) -> tuple[InvitationRow, Sequence[InvitationRow]]:
    """The invitation, and the person's other open ones, locked in the order of their ids."""
    own = InvitationRow.invitation_id == invite.invitation_id
    found = await session.scalars(
        select(InvitationRow)
        .where(own | ((InvitationRow.email == invite.email) & UNANSWERED))
        .order_by(InvitationRow.invitation_id)
        .with_for_update()
    )
    others = [row for row in found if row.invitation_id != invite.invitation_id]
    return await locked_invitation(session, invite.invitation_id), others


async def _locked_person(session: AsyncSession, invite: Invite) -> PersonRow:
    """Two acceptances of one person happen one after the other, whichever accounts they join."""
    await insert_missing(session, PersonRow, [{"email": invite.email, "name": invite.name}])
    return await session.get_one(PersonRow, invite.email, with_for_update=True)


async def _require_managed(
    session: AsyncSession, target: AccountRow, source: MembershipRow | None, email: str
) -> None:
    """Who joins unasked has an address that the account manages, and leaves nobody behind.

    That is, they have no account, or own a free one alone, with nothing in the way.
    Raises Refused: `conflict` (INV-18).
    """
    managed = domain_of(email) in target.managed_domains
    if not managed or (source is not None and not await _is_alone(session, source)):
        raise Refused(ErrorCode.CONFLICT, f"{email} has to be asked.")


async def _is_alone(session: AsyncSession, membership: MembershipRow) -> bool:
    account = await load_account(session, membership.account_id)
    return (
        membership.role == Role.OWNER
        and not account.paid
        and not find_blockers(account, membership.email)
    )


async def _account_left(session: AsyncSession, source: MembershipRow) -> Account:
    """The account that the person leaves: an owner's whole, else as far as it is theirs."""
    only = None if source.role == Role.OWNER else source.email
    return await load_account(session, source.account_id, only=only)


def _leaver(left: Account | None, person: PersonRow) -> User | None:
    """The person with all that is theirs, on the account that they leave (TRF-1)."""
    user = left.user(person.email) if left else None
    # Chat history is the person's own, on whichever account it was written.
    return user and user.model_copy(update={"chat_messages": person.chat_messages})


async def _supersede(session: AsyncSession, other: InvitationRow, at: datetime) -> None:
    """Another acceptance came first: the end, its seat, and word for its workflow (INV-14)."""
    await release_seat(session, other, at)
    keep(
        other,
        after(InvitationMachine, other.record, "supersede", at=at, by=ENGINE, note=SUPERSEDED),
    )
    announce_change(session, other, at)


async def _take_seat(session: AsyncSession, row: InvitationRow, invite: Invite) -> None:
    """The reserved seat becomes an assigned one (INV-15)."""
    if invite.license is not License.LICENSED:
        return
    pool = await base_licenses(session, invite.account)
    if row.seat_reserved:
        pool.reserved -= 1
    elif pool.free < 1:
        raise Refused(ErrorCode.NO_SEATS, f"{invite.account} has no free license.")
    pool.assigned += 1
    row.seat_reserved = False


async def _leave(
    session: AsyncSession,
    order: JoinAccount,
    membership: MembershipRow,
    source: Account,
    accounts: Mapping[str, AccountRow],
) -> Settled:
    """Give back the licenses held there; an owner closes the account behind them (SRC-2)."""
    at, settled, ended = order.invitation.journal[-1].at, Settled(), list[Order]()
    if membership.role == Role.OWNER:
        _require_free_to_close(source, membership.email)
        # First: credit that was reserved for an order goes along with the rest.
        ended = await end_orders(session, accounts[source.id], at)
        settled = await settle(session, order, source, accounts[order.invite.account], at)
        await _close(session, accounts[source.id], at)
    await leave(session, membership, at)
    membership.until = at
    membership.leaving = f"invitation:{order.invite.invitation_id}"
    # Before the new membership: a person is on one account at every moment.
    await session.flush()
    # Not before the owner has left the licenses, of whose add-on the admins are told (TRF-3).
    await release_licenses(session, ended, at)
    return settled


def _require_free_to_close(source: Account, owner: str) -> None:
    found = find_blockers(source, owner)
    if found:
        raise Refused(
            ErrorCode.BLOCKED,
            "Something stands in the way of leaving the present account.",
            blockers=[blocker.model_dump(mode="json") for blocker in found],
        )


async def _close(session: AsyncSession, source: AccountRow, at: datetime) -> None:
    source.state = "closed"
    lines = await session.scalars(
        select(SubscriptionRow).where(
            SubscriptionRow.account_id == source.id, SubscriptionRow.ended.is_(None)
        )
    )
    for line in lines:
        line.ended = at


def _enter(session: AsyncSession, invite: Invite, person: PersonRow, at: datetime) -> None:
    session.add(
        MembershipRow(
            account_id=invite.account,
            email=invite.email,
            role=Role.MEMBER,
            licensed=invite.license is License.LICENSED,
            licensed_at=at if invite.license is License.LICENSED else None,
            origin="invitation",
            invitation_id=invite.invitation_id,
            since=at,
            chat_before=person.chat_messages,
        )
    )


async def _noting_the_inviter(
    session: AsyncSession, invite: Invite, accepted: Invitation
) -> Invitation:
    """The journal says so when the inviter has gone meanwhile (INV-12)."""
    if await administers(session, invite.account, invite.invited_by):
        return accepted
    *before, last = accepted.journal
    note = f"{last.note} {INVITER_GONE}" if last.note else INVITER_GONE
    journal = (*before, last.model_copy(update={"note": note}))
    return accepted.model_copy(update={"journal": journal})
