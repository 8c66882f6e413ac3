"""The facts of an invitation's timeline, read in one snapshot."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from adapters.sql.database.schema import InvitationRow, LetterRow, PersonRow, RefundRow
from adapters.sql.database.transaction import reading
from adapters.sql.money.ledger import acceptance_credits
from domain.invitation import Invitation, StoredInvitation
from domain.invitee_page import InvitationOffer, NamedPerson
from domain.money import total
from domain.timeline import (
    LISTED_EARLIER,
    LISTED_LETTERS,
    BlockerCount,
    EarlierInvitation,
    SentLetter,
    Timeline,
    letter_ids,
)


class SqlTimelines:
    """Reads the facts of timelines; changes nothing."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(
        self, stored: StoredInvitation, offer: InvitationOffer, at: datetime
    ) -> Timeline:
        """Return the timeline of an invitation as of `at`; `offer` is its present record."""
        invite, invitation = stored.ordered, offer.invitation
        async with reading(self._engine) as session:
            row = await session.get(InvitationRow, stored.invitation_id)
            timeline = Timeline(
                invite=invite,
                invitation=invitation.model_copy(
                    # Only the store has the end of reminders.
                    update={
                        "blockers": (),
                        "link": None,
                        "reminders_ended": stored.invitation.reminders_ended,
                    }
                ),
                blockers=_counts(invitation),
                at=at,
                recheck_at=offer.recheck_at,
                resend_from=offer.resend_from,
                from_store=offer.from_store and not stored.invitation.state.final,
                invitee=await _invitee(session, stored, invitation),
                inviter=await _named(session, invite.invited_by),
                seat_reserved=row is not None and row.seat_reserved,
                letters=await _letters(session, stored, invitation),
            )
            if invitation.state.accepted:
                timeline = await _with_money(session, stored, timeline)
            return await _with_earlier(session, stored, timeline)


def _counts(invitation: Invitation) -> tuple[BlockerCount, ...]:
    return tuple(
        BlockerCount(code=each.code, count=each.count, kinds=each.kinds)
        for each in invitation.blockers
    )


async def _invitee(
    session: AsyncSession, stored: StoredInvitation, invitation: Invitation
) -> NamedPerson:
    """Return the invitee; their name in the directory is another account's before they join."""
    invite = stored.ordered
    email, name = invite.mail_to or invite.email, invite.name
    if invitation.state.accepted:
        name = (await _named(session, invite.email)).name or name
    return NamedPerson(email=email, name=name)


async def _named(session: AsyncSession, email: str) -> NamedPerson:
    person = await session.get(PersonRow, email)
    return NamedPerson(email=email, name=person.name if person else None)


async def _letters(
    session: AsyncSession, stored: StoredInvitation, invitation: Invitation
) -> tuple[SentLetter, ...]:
    events = letter_ids(stored.ordered, invitation)
    rows = await session.scalars(
        select(LetterRow)
        .where(LetterRow.letter_id.in_(events))
        .order_by(LetterRow.taken_at.desc())
        .limit(LISTED_LETTERS)
    )
    return tuple(SentLetter(event=events[row.letter_id], at=row.taken_at) for row in rows)


async def _with_money(
    session: AsyncSession, stored: StoredInvitation, timeline: Timeline
) -> Timeline:
    """Add the refund, and what the acceptance credited to the account (CRD-1)."""
    row = await session.scalar(
        select(RefundRow).where(RefundRow.invitation_id == stored.invitation_id)
    )
    credits = await acceptance_credits(session, stored.ordered)
    amounts = [entry.amount for entry in credits]
    return timeline.model_copy(
        update={
            "refund": row.record if row else None,
            "credited": total(amounts, amounts[0].currency) if amounts else None,
        }
    )


async def _with_earlier(
    session: AsyncSession, stored: StoredInvitation, timeline: Timeline
) -> Timeline:
    """Add the earlier invitations of the same person into the same account."""
    earlier = (
        InvitationRow.account_id == stored.ordered.account,
        InvitationRow.invitee_key == stored.ordered.key,
        InvitationRow.invitation_id != stored.invitation_id,
        InvitationRow.ended_at.is_not(None),
    )
    count = await session.scalar(select(func.count()).select_from(InvitationRow).where(*earlier))
    if not count:
        return timeline
    rows = await session.scalars(
        select(InvitationRow)
        .where(*earlier)
        .order_by(InvitationRow.claimed_at.desc(), InvitationRow.ended_at.desc())
        .limit(LISTED_EARLIER)
    )
    return timeline.model_copy(
        update={
            "earlier_count": count,
            "earlier": tuple(
                EarlierInvitation(
                    license=row.record.license,
                    invited_at=row.record.journal[0].at,
                    invited_by=row.record.invited_by,
                    end=row.record.journal[-1],
                )
                for row in rows
            ),
        }
    )
