"""The built-in content services: meetings, recordings, settings and so on (TRF-1).

They are stored with the person and follow them to the target account without a copy. A move
changes only what the target account decides: join links, and the settings that it locks.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from activities.move import ItemMoved, MoveItem
from adapters.sql.database.schema import AccountRow, MeetingRow, MovedItemRow, PersonRow, WebinarRow
from adapters.sql.database.transaction import writing
from adapters.sql.invitations.change import BATCH, add_changes, number_of_changes
from adapters.sql.invitations.record import locked_invitation
from adapters.sql.membership import current_membership, ended_membership, require_account
from domain.manifest import Item, changed_join_link, join_link, overridden_settings

_HOSTED: Final[Mapping[Item, type[MeetingRow] | type[WebinarRow]]] = {
    Item.MEETINGS: MeetingRow,
    Item.WEBINARS: WebinarRow,
}

Place = tuple[int, str]
"""Position and id of a meeting, in the order of the host's list."""

_START: Final[Place] = (-1, "")


class SqlContent:
    """The `ContentServices` over the built-in directory."""

    def __init__(self, engine: AsyncEngine, meeting_domain: str) -> None:
        """Set the domain of join links (TRF-5)."""
        self._engine = engine
        self._meeting_domain = meeting_domain

    async def move(self, request: MoveItem) -> ItemMoved:
        """Move one item, once per invitation; a repetition returns the first result.

        Thousands of links are changed in batches, each with the rows that list its changes. After
        an interruption the links that have not changed yet are left.
        """
        key, place = (request.invitation_id, request.item.value), _START
        while True:
            async with writing(self._engine) as session:
                await locked_invitation(session, request.invitation_id)
                moved = await session.get(MovedItemRow, key)
                moved_or_place = moved or await self._move_batch(session, request, place)
                if isinstance(moved_or_place, MovedItemRow):
                    return ItemMoved(
                        count=moved_or_place.count,
                        changed=await number_of_changes(
                            session, request.invitation_id, request.item
                        ),
                    )
                place = moved_or_place

    async def _move_batch(
        self, session: AsyncSession, request: MoveItem, place: Place
    ) -> MovedItemRow | Place:
        """Apply one batch of changes; return the item's row after the last, else the next place."""
        person = await session.get_one(PersonRow, request.email, with_for_update=True)
        membership = await current_membership(session, request.email)
        count = 0
        # A person who has left the target account again keeps everything unchanged.
        if membership is not None and membership.account_id == request.account:
            target = await require_account(session, request.account)
            if request.item is Item.SETTINGS:
                await _apply_locked_settings(session, request, target, person)
            elif rows := _HOSTED.get(request.item):
                following = await self._relink(session, request, target, rows, place)
                if following:
                    return following
            count = await _count(session, request.item, person)
        moved = MovedItemRow(
            invitation_id=request.invitation_id, item=request.item.value, count=count, changes=()
        )
        session.add(moved)
        return moved

    async def _relink(
        self,
        session: AsyncSession,
        request: MoveItem,
        target: AccountRow,
        rows: type[MeetingRow] | type[WebinarRow],
        place: Place,
    ) -> Place | None:
        """Change the links of a batch of meetings; return the place of the last, None at the end.

        Without a vanity URL of the target account, links stay.
        """
        if target.vanity_url is None:
            return None
        source = await _source_vanity_url(session, request.invitation_id)
        prefix = join_link(target.vanity_url, self._meeting_domain, "")
        found = await session.execute(
            select(rows.position, rows.id, rows.join_url)
            .where(
                rows.host == request.email,
                tuple_(rows.position, rows.id) > tuple_(*place),
                or_(rows.join_url.is_(None), rows.join_url != prefix + rows.id),
            )
            .order_by(rows.position, rows.id)
            .limit(BATCH)
        )
        batch = found.all()
        changes = [
            change
            for _, id, join_url in batch
            if (
                change := changed_join_link(
                    id, join_url, source, target.vanity_url, self._meeting_domain
                )
            )
        ]
        if changes:
            await session.execute(
                update(rows),
                [
                    {"host": request.email, "id": change.name, "join_url": change.new}
                    for change in changes
                ],
            )
            await add_changes(session, request.invitation_id, request.item, changes)
        return batch[-1][:2] if len(batch) == BATCH else None


async def _apply_locked_settings(
    session: AsyncSession, request: MoveItem, target: AccountRow, person: PersonRow
) -> None:
    changes = overridden_settings(person.settings, target.locked_settings, target.id)
    if changes:
        locked = {change.name: change.new for change in changes}
        person.settings = {**person.settings, **locked}
        await add_changes(session, request.invitation_id, request.item, changes)


async def _count(session: AsyncSession, item: Item, person: PersonRow) -> int:
    """Return how much of the item the person has."""
    match item:
        case Item.PROFILE:
            return 1
        case Item.MEETINGS | Item.WEBINARS:
            rows = _HOSTED[item]
            hosted = select(func.count()).select_from(rows).where(rows.host == person.email)
            return await session.scalar(hosted) or 0
        case Item.RECORDINGS:
            return person.recordings
        case Item.CHAT_HISTORY:
            # The whole chat history belongs to the person, from every account (TRF-4).
            return person.chat_messages
        case Item.CONTACTS:
            return person.contacts
        case Item.SETTINGS:
            return len(person.settings)


async def _source_vanity_url(session: AsyncSession, invitation_id: str) -> str | None:
    """Return the vanity URL of the account that the person left by this acceptance."""
    membership = await ended_membership(session, invitation_id)
    if membership is None:
        return None
    return await session.scalar(
        select(AccountRow.vanity_url).where(AccountRow.id == membership.account_id)
    )
