"""The facts of the invitee's page, read in one snapshot (QUO-8)."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.calendar import calendar_of
from adapters.sql.database.schema import (
    AccountRow,
    InvitationRow,
    MeetingRow,
    MembershipRow,
    MovedItemRow,
    PaymentMethodRow,
    PersonRow,
    RefundRow,
    WebinarRow,
)
from adapters.sql.database.transaction import reading
from adapters.sql.invitations.blocker import blockers_of
from adapters.sql.invitations.change import changes_of
from adapters.sql.invitations.preview import source_of
from adapters.sql.membership import (
    ended_membership,
    is_admin,
    load_account,
    require_account,
)
from adapters.sql.money.ledger import acceptance_credits
from domain.account import Account, Meeting, Plan, Role
from domain.invitation import MAX_LISTED_ITEMS, InvitationState, StoredInvitation
from domain.invitee_page import (
    LISTED_LINKS,
    AddonCount,
    ChangedLink,
    InvitationOffer,
    InviteePage,
    NamedAccount,
    NamedPerson,
    OldLink,
    OtherMethod,
    SubscriptionName,
)
from domain.ledger import TransferKind
from domain.manifest import Item, changed_join_link, overridden_settings
from domain.money import Money, rounded, total
from domain.preview import Preview, RefundTerms, preview_acceptance
from domain.quote import Returnable

_HOSTED = {Item.MEETINGS: MeetingRow, Item.WEBINARS: WebinarRow}


class SqlInviteePages:
    """Reads the facts of the invitees' pages; changes nothing."""

    def __init__(self, engine: AsyncEngine, returnable: Returnable) -> None:
        self._engine = engine
        self._returnable = returnable

    async def read(
        self, stored: StoredInvitation, offer: InvitationOffer, at: datetime, meeting_domain: str
    ) -> InviteePage:
        """Return the facts of one invitation's page, as of `at`."""
        async with reading(self._engine) as session:
            page = await _head(session, stored, offer, at)
            state = offer.invitation.state
            if state.unanswered:
                return await _with_offer(session, page, offer, meeting_domain, self._returnable)
            if state.accepted:
                return await _with_progress(session, page)
            if state is InvitationState.SUPERSEDED:
                return await _with_joined_account(session, page)
            return await _with_own_account(session, page)

    async def head(self, stored: StoredInvitation) -> InviteePage:
        """Return the people and accounts of an invitation."""
        at = stored.invitation.journal[-1].at
        async with reading(self._engine) as session:
            return await _head(
                session, stored, InvitationOffer(invitation=stored.invitation, at=at), at
            )

    async def old_link(self, meeting: str, host: str, meeting_domain: str) -> OldLink | None:
        """Return the present link of a meeting or webinar whose link has changed (TRF-5).

        Ids are unique for one host only, so a host of the meeting domain answers for its own old
        links alone. Elsewhere the id has to be the only one. None if no link has changed.
        """
        async with reading(self._engine) as session:
            found = [link async for link in _old_links(session, meeting)]
        if f".{host}".endswith(f".{meeting_domain}"):
            own = (link for link in found if link.old and urlsplit(link.old).hostname == host)
            return next((link for link in own if urlsplit(link.new).hostname != host), None)
        return found[0] if len({link.new for link in found}) == 1 else None


async def _head(
    session: AsyncSession, stored: StoredInvitation, offer: InvitationOffer, at: datetime
) -> InviteePage:
    invite = stored.ordered
    target = await require_account(session, invite.account)
    inviter = await session.get(PersonRow, invite.invited_by)
    person = await session.get(PersonRow, invite.email)
    return InviteePage(
        invite=invite,
        invitation=offer.invitation,
        at=at,
        recheck_at=offer.recheck_at,
        target=_named(target),
        inviter=NamedPerson(email=invite.invited_by, name=inviter.name if inviter else None),
        inviter_may_invite=target.paid
        and not target.suspended
        and await is_admin(session, invite.account, invite.invited_by),
        invitee=NamedPerson(
            email=invite.mail_to or invite.email, name=(person and person.name) or invite.name
        ),
        locale=(person and person.locale) or invite.locale,
        time_zone=(person and person.time_zone) or target.time_zone,
    )


def _named(account: AccountRow | Account) -> NamedAccount:
    return NamedAccount(
        id=account.id,
        name=account.name,
        currency=account.currency,
        time_zone=account.time_zone,
        collection=account.collection,
    )


# Before the answer.


async def _with_offer(
    session: AsyncSession,
    page: InviteePage,
    offer: InvitationOffer,
    meeting_domain: str,
    returnable: Returnable,
) -> InviteePage:
    """Add the effects of accepting, with the recorded quote while it binds (QUO-5)."""
    invite = page.invite
    source = await source_of(session, invite)
    person = await session.get(PersonRow, invite.email)
    target = await load_account(session, invite.account, only=invite.email)
    blockers = await blockers_of(session, source, invite.email)
    preview, quote = preview_acceptance(
        invite,
        page.at,
        source,
        target,
        blockers=blockers,
        chat_messages=person.chat_messages if person else 0,
        shown=offer.quote,
        refunds=RefundTerms(calendar_of, returnable),
    )
    page = page.model_copy(
        update={
            "preview": preview,
            "quote_recorded": quote is not None and quote == offer.quote,
        }
    )
    if source is None:
        return page
    page = _with_source(page, source, target, meeting_domain)
    return await _with_members(session, page) if blockers else page


async def _with_members(session: AsyncSession, page: InviteePage) -> InviteePage:
    """Add which of the other users are invited as well (BLK-6)."""
    assert page.source, "a blocked owner has an account"
    others = (
        select(MembershipRow.email)
        .where(
            MembershipRow.account_id == page.source.id,
            MembershipRow.until.is_(None),
            MembershipRow.email != page.invite.email,
        )
        .order_by(MembershipRow.id)
    )
    live = select(InvitationRow.email).where(
        InvitationRow.account_id == page.invite.account, InvitationRow.ended_at.is_(None)
    )
    invited = await session.scalars(
        others.where(MembershipRow.email.in_(live)).limit(MAX_LISTED_ITEMS)
    )
    missing = others.where(MembershipRow.email.not_in(live)).order_by(None).subquery()
    return page.model_copy(
        update={
            "invited_members": tuple(invited),
            "members_to_invite": await session.scalar(select(func.count()).select_from(missing)),
        }
    )


def _with_source(
    page: InviteePage, source: Account, target: Account, meeting_domain: str
) -> InviteePage:
    """Add the account that the person leaves, and the changes of their settings and links."""
    user = source.user(page.invite.email)
    assert user is not None, "a source account has its user"
    closes = source.owned_by(user.email)
    links = list(_changed_links((*user.meetings, *user.webinars), source, target, meeting_domain))
    held = Counter((addon.sku, addon.capacity) for addon in user.addons)
    return page.model_copy(
        update={
            "source": _named(source),
            "closes": closes,
            "source_paid": source.paid,
            "credit": _credit(source, page.preview) if closes else None,
            "time_zone": user.time_zone or source.time_zone,
            "subscriptions": tuple(
                SubscriptionName(
                    id=line.id,
                    product=line.product,
                    cycle=line.cycle,
                    kind=line.kind,
                    quantity=line.quantity,
                )
                for line in (source.subscriptions if closes else ())
            ),
            "addons": tuple(
                AddonCount(sku=sku, capacity=capacity, count=count)
                for (sku, capacity), count in sorted(held.items())
            ),
            "settings": overridden_settings(user.settings, target.locked_settings, target.id),
            "links": tuple(links[:LISTED_LINKS]),
            "links_changed": len(links),
        }
    )


def _credit(source: Account, preview: Preview | None) -> Money | None:
    """Return the balance and what the unused payments return to it; None if it is zero (QUO-3)."""
    lines = preview.lines if preview else ()
    shares = [share for line in lines for share in line.shares if share.method == "credit"]
    balance = rounded(source.credit, source.currency)
    credit = total([balance, *(share.amount for share in shares)], source.currency)
    return credit if credit.amount else None


def _changed_links(
    hosted: Sequence[Meeting], source: Account, target: Account, meeting_domain: str
) -> Iterator[ChangedLink]:
    if target.vanity_url is None:
        return
    for each in hosted:
        change = changed_join_link(
            each.id, each.join_url, source.vanity_url, target.vanity_url, meeting_domain
        )
        if change:
            old = None if change.old is None else str(change.old)
            yield ChangedLink(
                topic=each.topic, starts_at=each.starts_at, old=old, new=str(change.new)
            )


# After the answer.


async def _with_progress(session: AsyncSession, page: InviteePage) -> InviteePage:
    """Add the account that was left, the changes of the move, and the refund."""
    invitation_id = page.invite.invitation_id
    left = await ended_membership(session, invitation_id)
    source = await session.get(AccountRow, left.account_id) if left else None
    links, number = await _moved_links(session, page)
    row = await session.scalar(select(RefundRow).where(RefundRow.invitation_id == invitation_id))
    changes = (await changes_of(session, [invitation_id], at_most=LISTED_LINKS)).get(
        invitation_id, {}
    )
    page = page.model_copy(
        update={
            "settings": changes.get(Item.SETTINGS, ()),
            "links": links,
            "links_changed": number,
            "refund": row.record if row else None,
            **await _credited(session, page),
        }
    )
    if source is None:
        return page
    methods = await session.scalars(
        select(PaymentMethodRow)
        .where(PaymentMethodRow.account_id == source.id)
        .order_by(PaymentMethodRow.position)
    )
    return page.model_copy(
        update={
            "source": _named(source),
            "closes": left is not None and left.role == Role.OWNER,
            "source_paid": source.plan != Plan.FREE,
            "other_methods": tuple(OtherMethod(id=each.id, kind=each.kind) for each in methods),
        }
    )


async def _credited(session: AsyncSession, page: InviteePage) -> dict[str, Money]:
    """Return what the acceptance credited to the joined account, if anything (CRD-1)."""
    entries = await acceptance_credits(session, page.invite)
    found: dict[str, Money] = {}
    if entries:
        amounts = (entry.amount for entry in entries)
        found["credited"] = total(amounts, page.target.currency)
    for entry in entries:
        if entry.kind is TransferKind.CREDIT_MOVED:
            found["credited_balance"] = entry.amount
    return found


async def _moved_links(
    session: AsyncSession, page: InviteePage
) -> tuple[tuple[ChangedLink, ...], int]:
    """Return the first changed links, with their topics, and the number of all."""
    number = sum(item.changed for item in page.invitation.manifest if item.item in _HOSTED)
    if not number:
        return (), 0
    invitation_id = page.invite.invitation_id
    found = await changes_of(session, [invitation_id], at_most=LISTED_LINKS)
    links: list[ChangedLink] = []
    for item, table in _HOSTED.items():
        changes = found.get(invitation_id, {}).get(item, ())[:LISTED_LINKS]
        rows = await session.execute(
            select(table.id, table.topic, table.starts_at).where(
                table.host == page.invite.email, table.id.in_([each.name for each in changes])
            )
        )
        hosted = {id: (topic, starts_at) for id, topic, starts_at in rows}
        links += (
            ChangedLink(
                topic=hosted.get(each.name, (each.name, None))[0],
                starts_at=hosted.get(each.name, (each.name, None))[1],
                old=None if each.old is None else str(each.old),
                new=str(each.new),
            )
            for each in changes
        )
    return tuple(links[:LISTED_LINKS]), number


async def _with_joined_account(session: AsyncSession, page: InviteePage) -> InviteePage:
    """Add the account whose acceptance has superseded this invitation (INV-14)."""
    accepted = await session.scalars(
        select(InvitationRow).where(
            InvitationRow.email == page.invite.email,
            InvitationRow.state.in_([state for state in InvitationState if state.accepted]),
        )
    )
    ended_at = page.invitation.journal[-1].at
    joined_at = {
        entry.at: other.account_id
        for other in accepted
        for entry in other.record.journal
        if entry.event in {"accept", "join"} and entry.at <= ended_at
    }
    if not joined_at:
        return page
    joined = await require_account(session, joined_at[max(joined_at)])
    return page.model_copy(update={"joined": _named(joined)})


async def _with_own_account(session: AsyncSession, page: InviteePage) -> InviteePage:
    """Add the account that the person is on, which the end has not changed."""
    source = await source_of(session, page.invite)
    if source is None:
        return page
    return page.model_copy(
        update={
            "source": _named(source),
            "closes": source.owned_by(page.invite.email),
            "source_paid": source.paid,
        }
    )


# Old join links.


async def _old_links(session: AsyncSession, meeting: str) -> AsyncIterator[OldLink]:
    """Yield the changed links of all meetings and webinars with this id, newest change first."""
    for item, table in _HOSTED.items():
        rows = await session.execute(
            select(table.join_url, MovedItemRow.changes)
            .join(InvitationRow, InvitationRow.email == table.host)
            .join(MovedItemRow, MovedItemRow.invitation_id == InvitationRow.invitation_id)
            .where(table.id == meeting, MovedItemRow.item.startswith(f"{item}/"))
            .order_by(InvitationRow.claimed_at.desc())
        )
        for new, changes in rows:
            for change in changes:
                if change.name == meeting and new:
                    old = None if change.old is None else str(change.old)
                    yield OldLink(old=old, new=new)
