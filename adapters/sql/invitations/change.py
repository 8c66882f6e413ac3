"""The changes that a move has made, in batches of one row each (OPS-7)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import MovedItemRow
from domain.manifest import Change, Item

BATCH: Final = 500
"""Changes in one transaction and in one row: a few milliseconds on any database."""

_INVITATIONS: Final = 100
"""Invitations whose changes are read by one statement: at most some megabytes of a list."""


async def add_changes(
    session: AsyncSession, invitation_id: str, item: Item, changes: Sequence[Change]
) -> None:
    """Add the row of a batch of changes of the item."""
    batches = select(func.count()).select_from(MovedItemRow)
    number = await session.scalar(batches.where(*_batches_of(invitation_id, item))) or 0
    session.add(
        MovedItemRow(
            invitation_id=invitation_id,
            item=_batch_name(item, number),
            count=len(changes),
            changes=tuple(changes),
        )
    )


async def number_of_changes(session: AsyncSession, invitation_id: str, item: Item) -> int:
    """Return the number of changes of the item in all batches."""
    total = select(func.sum(MovedItemRow.count)).where(*_batches_of(invitation_id, item))
    return await session.scalar(total) or 0


async def changes_of(
    session: AsyncSession, invitation_ids: Sequence[str], *, at_most: int | None = None
) -> Mapping[str, Mapping[Item, tuple[Change, ...]]]:
    """Return the changes of each item, by invitation: all, or `at_most` of the first batch."""
    found = defaultdict[str, dict[Item, tuple[Change, ...]]](dict)
    name = MovedItemRow.item
    listed = name.endswith(_batch_name("", 0)) if at_most else name.contains("/")
    for start in range(0, len(invitation_ids), _INVITATIONS):
        ids = invitation_ids[start : start + _INVITATIONS]
        rows = await session.execute(
            select(MovedItemRow.invitation_id, name, MovedItemRow.changes)
            .where(MovedItemRow.invitation_id.in_(ids), listed)
            .order_by(MovedItemRow.invitation_id, name)
        )
        for invitation_id, batch, changes in rows:
            item, earlier = Item(batch.partition("/")[0]), found[invitation_id]
            earlier[item] = (*earlier.get(item, ()), *changes[:at_most])
    return found


def _batches_of(invitation_id: str, item: Item) -> tuple[ColumnElement[bool], ...]:
    return (
        MovedItemRow.invitation_id == invitation_id,
        MovedItemRow.item.startswith(f"{item}/"),
    )


def _batch_name(item: str, number: int) -> str:
    """Return the name of a batch; the names of one item sort by number."""
    return f"{item}/{number:06}"
