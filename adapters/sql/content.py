"""The built-in stand-in for the services that keep people's meetings, recordings and so on.

Here they lie beside the person and follow them by themselves; what a move changes is what
the joined account decides: join links, and settings that it locks.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import selectinload

from activities.move import ItemMoved, MoveItem
from adapters.sql.accounts.directory import load_account
from adapters.sql.database.schema import AccountRow, MeetingRow, MovedItemRow, PersonRow, WebinarRow
from adapters.sql.database.transaction import writing
from adapters.sql.invitations.record import locked_invitation
from adapters.sql.membership import left_behind
from domain.account import Account, Meeting, User
from domain.manifest import Change, Item, changed_join_links, counts_of, overridden_settings


class SqlContent:
    """Keeps the promises of `ContentServices` over the built-in directory."""

    def __init__(self, engine: AsyncEngine, meeting_domain: str) -> None:
        """Join links end with `meeting_domain` (TRF-5)."""
        self._engine = engine
        self._meeting_domain = meeting_domain

    async def move(self, order: MoveItem) -> ItemMoved:
        """Move it once per invitation and item; a repeat returns the first result."""
        async with writing(self._engine) as session:
            await locked_invitation(session, order.invitation_id)
            row = await session.get(MovedItemRow, (order.invitation_id, order.item.value))
            if row is None:
                row = await self._moved(session, order)
                session.add(row)
            return ItemMoved(count=row.count, changes=row.changes)

    async def _moved(self, session: AsyncSession, order: MoveItem) -> MovedItemRow:
        person = await session.get_one(
            PersonRow,
            order.email,
            options=(selectinload(PersonRow.meetings), selectinload(PersonRow.webinars)),
            with_for_update=True,
        )
        target = await load_account(session, order.account, only=order.email)
        user = target.user(order.email)
        changes: tuple[Change, ...] = ()
        # Who has left again meanwhile has taken everything along as it was.
        if user is not None:
            # Chat history is the person's own, on whichever account it was written (TRF-4).
            user = user.model_copy(update={"chat_messages": person.chat_messages})
            changes = await self._changed(session, order, person, target, user)
        return MovedItemRow(
            invitation_id=order.invitation_id,
            item=order.item.value,
            count=counts_of(user)[order.item],
            changes=changes,
        )

    async def _changed(
        self,
        session: AsyncSession,
        order: MoveItem,
        person: PersonRow,
        target: Account,
        user: User,
    ) -> tuple[Change, ...]:
        """What the account decides of it, from now on."""
        match order.item:
            case Item.SETTINGS:
                changes = overridden_settings(user.settings, target.locked_settings, target.id)
                taken = {change.name: change.new for change in changes}
                person.settings = {**person.settings, **taken}
                return changes
            case Item.MEETINGS:
                return await self._relinked(session, order, target, user.meetings, person.meetings)
            case Item.WEBINARS:
                return await self._relinked(session, order, target, user.webinars, person.webinars)
            case _:
                return ()

    async def _relinked(
        self,
        session: AsyncSession,
        order: MoveItem,
        target: Account,
        meetings: Sequence[Meeting],
        rows: Sequence[MeetingRow | WebinarRow],
    ) -> tuple[Change, ...]:
        changes = changed_join_links(
            meetings,
            await _vanity_url_left(session, order.invitation_id),
            target.vanity_url,
            self._meeting_domain,
        )
        links = {change.name: str(change.new) for change in changes}
        for row in rows:
            row.join_url = links.get(row.id, row.join_url)
        return changes


async def _vanity_url_left(session: AsyncSession, invitation_id: str) -> str | None:
    """The vanity URL of the account that was left by this acceptance."""
    membership = await left_behind(session, invitation_id)
    if membership is None:
        return None
    return await session.scalar(
        select(AccountRow.vanity_url).where(AccountRow.id == membership.account_id)
    )
