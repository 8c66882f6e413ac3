"""The built-in content services: meetings, recordings, settings and so on (TRF-1).

They are stored with the person and follow them to the target account without a copy. A move
changes only what the target account decides: join links, and the settings that it locks.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import selectinload

from activities.move import ItemMoved, MoveItem
from adapters.sql.database.schema import AccountRow, MeetingRow, MovedItemRow, PersonRow, WebinarRow
from adapters.sql.database.transaction import writing
from adapters.sql.invitations.record import locked_invitation
from adapters.sql.membership import ended_membership, load_account
from domain.account import Account, Meeting, User
from domain.manifest import Change, Item, changed_join_links, counts_of, overridden_settings


class SqlContent:
    """The `ContentServices` over the built-in directory."""

    def __init__(self, engine: AsyncEngine, meeting_domain: str) -> None:
        """Set the domain of join links (TRF-5)."""
        self._engine = engine
        self._meeting_domain = meeting_domain

    async def move(self, request: MoveItem) -> ItemMoved:
        """Move one item, once per invitation; a repetition returns the first result."""
        async with writing(self._engine) as session:
            await locked_invitation(session, request.invitation_id)
            row = await session.get(MovedItemRow, (request.invitation_id, request.item.value))
            if row is None:
                row = await self._move_item(session, request)
                session.add(row)
            return ItemMoved(count=row.count, changes=row.changes)

    async def _move_item(self, session: AsyncSession, request: MoveItem) -> MovedItemRow:
        person = await session.get_one(
            PersonRow,
            request.email,
            options=(selectinload(PersonRow.meetings), selectinload(PersonRow.webinars)),
            with_for_update=True,
        )
        target = await load_account(session, request.account, only=request.email)
        user = target.user(request.email)
        changes: tuple[Change, ...] = ()
        # A person who has left the target account again keeps everything unchanged.
        if user is not None:
            # The whole chat history belongs to the person, from every account (TRF-4).
            user = user.model_copy(update={"chat_messages": person.chat_messages})
            changes = await self._apply_changes(session, request, person, target, user)
        return MovedItemRow(
            invitation_id=request.invitation_id,
            item=request.item.value,
            count=counts_of(user)[request.item],
            changes=changes,
        )

    async def _apply_changes(
        self,
        session: AsyncSession,
        request: MoveItem,
        person: PersonRow,
        target: Account,
        user: User,
    ) -> tuple[Change, ...]:
        """Apply the changes that the target account makes to the item."""
        match request.item:
            case Item.SETTINGS:
                changes = overridden_settings(user.settings, target.locked_settings, target.id)
                locked = {change.name: change.new for change in changes}
                person.settings = {**person.settings, **locked}
                return changes
            case Item.MEETINGS:
                return await self._relink(session, request, target, user.meetings, person.meetings)
            case Item.WEBINARS:
                return await self._relink(session, request, target, user.webinars, person.webinars)
            case _:
                return ()

    async def _relink(
        self,
        session: AsyncSession,
        request: MoveItem,
        target: Account,
        meetings: Sequence[Meeting],
        rows: Sequence[MeetingRow | WebinarRow],
    ) -> tuple[Change, ...]:
        changes = changed_join_links(
            meetings,
            await _source_vanity_url(session, request.invitation_id),
            target.vanity_url,
            self._meeting_domain,
        )
        links = {change.name: str(change.new) for change in changes}
        for row in rows:
            row.join_url = links.get(row.id, row.join_url)
        return changes


async def _source_vanity_url(session: AsyncSession, invitation_id: str) -> str | None:
    """Return the vanity URL of the account that the person left by this acceptance."""
    membership = await ended_membership(session, invitation_id)
    if membership is None:
        return None
    return await session.scalar(
        select(AccountRow.vanity_url).where(AccountRow.id == membership.account_id)
    )
