"""The letters about an invitation, queued in the transaction that changes it (OPS-1)."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import (
    AccountRow,
    InvitationRow,
    MeetingRow,
    MembershipRow,
    PersonRow,
    WebinarRow,
)
from adapters.sql.database.transaction import chunked
from adapters.sql.invitations.change import changes_of
from adapters.sql.invitations.preview import source_of
from adapters.sql.membership import admins_of, ended_membership, require_account, user_or_owner
from adapters.sql.money.ledger import acceptance_credits, applied_at
from adapters.sql.outbox import queue_letters
from domain.account import Account
from domain.attention import cases_of_move
from domain.invitation import InvitationState, Invite
from domain.ledger import TransferKind, credit_of
from domain.letter import Letter
from domain.letter.attention import operator_letters
from domain.letter.base import Reader
from domain.letter.credit import PaidInvoice
from domain.letter.invitation import (
    LISTED_CHANGES,
    Hosted,
    InvitationParties,
    LeftAccount,
    invitation_letters,
    moved_letters,
)
from domain.manifest import Change, Item
from domain.money import total
from domain.outbox import PageLink, RecordKind, RecordVersion, queued_letter
from domain.preview import loss_notices, moving_items, staying_notices


async def queue_invitation_letters(
    session: AsyncSession, row: InvitationRow, at: datetime, *, after: timedelta = timedelta()
) -> list[str]:
    """Queue the letters about the last transition of the invitation; return their ids.

    The relay sends them when `after` has passed.
    """
    parties = await invitation_parties(session, row.ordered)
    if row.record.state in (InvitationState.EXPIRED, InvitationState.UNDELIVERABLE):
        target = await require_account(session, row.account_id)
        parties = parties.model_copy(update={"admins": await _admins(session, row.ordered, target)})
    return await _queue(
        session, row, invitation_letters(row.ordered, row.record, parties), at, after
    )


async def queue_moved_letters(session: AsyncSession, row: InvitationRow, at: datetime) -> None:
    """Queue the letters about the moved data, and the operators' about failed items (TRF-5)."""
    parties = await invitation_parties(session, row.ordered)
    changes = await _changes(session, row)
    hosted = await _hosted(session, row.email, changes)
    parties = parties.model_copy(update={"changes": changes, "hosted": hosted})
    letters: list[Letter] = [
        *moved_letters(row.invitation_id, row.record.manifest, parties),
        *operator_letters(cases_of_move(row.record), parties.account_name),
    ]
    await _queue(session, row, letters, at, timedelta())


async def _queue(
    session: AsyncSession,
    row: InvitationRow,
    letters: Iterable[Letter],
    at: datetime,
    after: timedelta,
) -> list[str]:
    invite, invitation = row.ordered, row.record
    version = RecordVersion(
        kind=RecordKind.INVITATION, id=invite.invitation_id, entries=len(invitation.journal)
    )
    page = PageLink(invitation_id=invite.invitation_id, number=invitation.sent_count)
    return await queue_letters(
        session,
        (queued_letter(letter, version, page) for letter in letters),
        workflow_id=invite.workflow_id,
        account=invite.account,
        at=at,
        after=after,
    )


async def invitation_parties(session: AsyncSession, invite: Invite) -> InvitationParties:
    """Return the recipients of the invitation's letters, from the directory (TXT-1)."""
    target = await require_account(session, invite.account)
    user = await user_or_owner(session, invite.account, invite.invited_by)
    inviter = user.person if user else PersonRow(email=invite.invited_by)
    found = await session.get(PersonRow, invite.email)
    invitee = found or PersonRow(email=invite.email, name=invite.name)
    source = await source_of(session, invite)
    parties = InvitationParties(
        account=target.id,
        account_name=target.name,
        inviter=inviter.as_reader(target.time_zone, invite.locale),
        invitee=invitee.as_reader(
            source.time_zone if source else target.time_zone, invite.locale
        ).model_copy(update={"email": invite.mail_to or invite.email}),
        loses=loss_notices(source, invite.email, invite.license),
        moves=moving_items(source, invite.email),
        stays=staying_notices(source, invite.email, target.name),
        left=_left_account(source, invite.email),
        collection=target.collection,
    )
    left = await ended_membership(session, invite.invitation_id)
    return await _with_admins(session, parties, invite, target, left) if left else parties


def _left_account(source: Account | None, invitee: str) -> LeftAccount | None:
    """Return the account that the invitee would leave, with the names of what ends with it."""
    if source is None:
        return None
    owned = source.owned_by(invitee)
    lines = source.subscriptions if owned and source.paid else ()
    return LeftAccount(
        name=source.name, owned=owned, products={line.id: line.product for line in lines}
    )


async def _admins(session: AsyncSession, invite: Invite, target: AccountRow) -> tuple[Reader, ...]:
    admins = await admins_of(session, target.id)
    return tuple(admin.as_reader(target.time_zone, invite.locale) for admin in admins)


async def _with_admins(
    session: AsyncSession,
    parties: InvitationParties,
    invite: Invite,
    target: AccountRow,
    left: MembershipRow,
) -> InvitationParties:
    """Add the target's admins, the licenses left behind and the amount credited (CRD-2, TRF-3)."""
    entries = await acceptance_credits(session, invite)
    balance = [each.amount for each in entries if each.kind is TransferKind.CREDIT_MOVED]
    paid = await applied_at(session, credit_of(invite.account), entries[0].at) if entries else ()
    former = await session.get_one(AccountRow, left.account_id)
    return parties.model_copy(
        update={
            "licenses_left": left.addons_left,
            "admins": await _admins(session, invite, target),
            "credited": total((each.amount for each in entries), target.currency)
            if entries
            else None,
            "credited_balance": balance[0] if balance else None,
            "former_account": former.name,
            "paid_invoices": tuple(
                PaidInvoice(id=each.invoice, amount=each.amount) for each in paid if each.invoice
            ),
        }
    )


async def _changes(session: AsyncSession, row: InvitationRow) -> Mapping[Item, tuple[Change, ...]]:
    """Return the changes of the move that a letter lists (TRF-2, TRF-5)."""
    if not any(item.changed for item in row.record.manifest):
        return {}
    found = await changes_of(session, [row.invitation_id], at_most=LISTED_CHANGES)
    return found[row.invitation_id]


async def _hosted(
    session: AsyncSession, host: str, changes: Mapping[Item, tuple[Change, ...]]
) -> dict[str, Hosted]:
    """Return the topics and times of the meetings and webinars whose links have changed."""
    found: dict[str, Hosted] = {}
    for item, table in ((Item.MEETINGS, MeetingRow), (Item.WEBINARS, WebinarRow)):
        for some in chunked([change.name for change in changes.get(item, ())]):
            rows = await session.scalars(
                select(table).where(table.host == host, table.id.in_(some))
            )
            found |= {each.id: Hosted(topic=each.topic, starts_at=each.starts_at) for each in rows}
    return found
