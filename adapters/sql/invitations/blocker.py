"""Blockers of an owner's acceptance, found in the store (BLK)."""

from sqlalchemy import literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import MembershipRow, PersonRow, RoomRow
from domain.account import Account
from domain.blocker import find_blockers
from domain.invitation import Blocker, BlockerItem


async def blockers_of(
    session: AsyncSession, source: Account | None, invitee: str
) -> tuple[Blocker, ...]:
    """Return the blockers that prevent the invitee from leaving `source`.

    Only an owner has any (SRC-3). Of the other users and rooms only the ids and names are read: a
    large account has thousands.
    """
    if source is None or not source.owned_by(invitee):
        return ()
    users = (
        select(
            literal("user").label("kind"),
            MembershipRow.email.label("id"),
            PersonRow.name,
            MembershipRow.id.label("place"),
        )
        .outerjoin(PersonRow, PersonRow.email == MembershipRow.email)
        .where(
            MembershipRow.account_id == source.id,
            MembershipRow.until.is_(None),
            MembershipRow.email != invitee,
        )
    )
    rooms = select(literal("room"), RoomRow.id, RoomRow.name, RoomRow.position).where(
        RoomRow.account_id == source.id
    )
    others = union_all(users, rooms).subquery().c
    found = await session.execute(
        select(others.kind, others.id, others.name).order_by(others.kind.desc(), others.place)
    )
    items = (BlockerItem(kind=kind, id=item, name=name) for kind, item, name in found)
    return find_blockers(source, items)
