"""The facts of the invitee's page, read in one snapshot (QUO-8)."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.calendar import calendar_of
from adapters.sql.database.schema import (
    AccountRow,
    InvitationRow,
    InvoiceRow,
    MeetingRow,
    MovedItemRow,
    PaymentMethodRow,
    PersonRow,
    RefundRow,
    RoomRow,
    SubscriptionRow,
    WebinarRow,
)
from adapters.sql.database.transaction import reading
from adapters.sql.invitations.blocker import blockers_of
from adapters.sql.invitations.change import changes_of
from adapters.sql.invitations.preview import source_of
from adapters.sql.membership import (
    current_membership,
    ended_membership,
    is_admin,
    load_account,
    require_account,
)
from domain.account import Account, Meeting, Plan, Role
from domain.invitation import Blocker, InvitationState, StoredInvitation
from domain.invitee_page import (
    LISTED_LINKS,
    AddonCount,
    BlockingItem,
    ChangedLink,
    InvitationOffer,
    InviteePage,
    NamedAccount,
    NamedPerson,
    OldLink,
    OtherMethod,
    SubscriptionName,
)
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
            return page

    async def old_link(self, meeting: str, host: str) -> OldLink | None:
        """Return the present link of a meeting or webinar whose link has changed (TRF-5).

        Ids are unique for one host only: `host`, of the requested address, decides among several.
        None if no link of this id has changed.
        """
        async with reading(self._engine) as session:
            found = [link async for link in _old_links(session, meeting)]
        exact = (link for link in found if link.old and f"://{host}/" in link.old)
        return next(exact, next(iter(found), None))


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
        id=account.id, name=account.name, currency=account.currency, time_zone=account.time_zone
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
            "blocking": await _blocking(session, source.id, blockers) if source else (),
        }
    )
    return _with_source(page, source, target, meeting_domain) if source else page


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
            yield ChangedLink(topic=each.topic, old=old, new=str(change.new))


async def _blocking(
    session: AsyncSession, account: str, blockers: Sequence[Blocker]
) -> tuple[BlockingItem, ...]:
    """Return the listed items of the blockers, by the names that the owner knows."""
    found: list[BlockingItem] = []
    for blocker in blockers:
        named = {
            kind: await _item_names(
                session, account, kind, [item.id for item in blocker.items if item.kind == kind]
            )
            for kind in blocker.kinds
        }
        found += (
            named[item.kind].get(item.id, BlockingItem(kind=item.kind, id=item.id))
            for item in blocker.items
        )
    return tuple(found)


async def _item_names(
    session: AsyncSession, account: str, kind: str, ids: Sequence[str]
) -> dict[str, BlockingItem]:
    match kind:
        case "user":
            people = await session.scalars(select(PersonRow).where(PersonRow.email.in_(ids)))
            named = [BlockingItem(kind=kind, id=each.email, name=each.name) for each in people]
        case "room":
            rooms = await session.scalars(_items(RoomRow, account, ids))
            named = [BlockingItem(kind=kind, id=each.id, name=each.name) for each in rooms]
        case "invoice":
            invoices = await session.scalars(_items(InvoiceRow, account, ids))
            named = [BlockingItem(kind=kind, id=each.id, due_on=each.due_on) for each in invoices]
        case "subscription":
            lines = await session.scalars(_items(SubscriptionRow, account, ids))
            named = [BlockingItem(kind=kind, id=each.id, name=each.product) for each in lines]
        case _:
            named = []
    return {item.id: item for item in named}


_OfAccount = TypeVar("_OfAccount", RoomRow, InvoiceRow, SubscriptionRow)


def _items(table: type[_OfAccount], account: str, ids: Sequence[str]) -> Select[_OfAccount]:
    return select(table).where(table.account_id == account, table.id.in_(ids))


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
            select(table.id, table.topic).where(
                table.host == page.invite.email, table.id.in_([each.name for each in changes])
            )
        )
        topics = {id: topic for id, topic in rows}
        links += (
            ChangedLink(
                topic=topics.get(each.name, each.name),
                old=None if each.old is None else str(each.old),
                new=str(each.new),
            )
            for each in changes
        )
    return tuple(links[:LISTED_LINKS]), number


async def _with_joined_account(session: AsyncSession, page: InviteePage) -> InviteePage:
    membership = await current_membership(session, page.invite.email)
    if membership is None:
        return page
    joined = await require_account(session, membership.account_id)
    return page.model_copy(update={"joined": _named(joined)})


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
