"""What accepting would do, told from the store without a change to it (QUO-8)."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from activities.invitation import InvitationPreviewed, PreviewInvitation
from adapters.calendar import calendar_of
from adapters.sql.accounts.directory import load_account
from adapters.sql.database.schema import PersonRow
from adapters.sql.invitations.acceptance import load_source
from adapters.sql.membership import current_membership
from domain.acceptance import leaver
from domain.account import Account, User
from domain.blocker import blockers
from domain.invitation import Invite
from domain.preview import (
    Preview,
    credit_left_behind,
    credit_taken_along,
    losses,
    moves_along,
    preview,
    stays,
)
from domain.quote import RecordedQuote, must_choose, nothing, quote, terms_of


async def previewed(session: AsyncSession, order: PreviewInvitation) -> InvitationPreviewed:
    """What accepting would do; while the recorded quote binds, it is shown again."""
    invite = order.invite
    source = await source_of(session, invite)
    target = await load_account(session, invite.account, only=invite.email)
    if source is None or not source.owned_by(invite.email):
        told = InvitationPreviewed(preview=_of_nothing(order, source, target))
    else:
        told = _of_a_closing(order, source, target)
    moves = (
        *moves_along(await _leaver(session, source, invite.email), target),
        *told.preview.moves,
    )
    return told.model_copy(update={"preview": told.preview.model_copy(update={"moves": moves})})


async def source_of(session: AsyncSession, invite: Invite) -> Account | None:
    """The account that the invitee would leave: an owner's whole, else as far as it is theirs."""
    membership = await current_membership(session, invite.email)
    joined = membership is not None and membership.account_id == invite.account
    return None if joined else await load_source(session, membership)


async def _leaver(session: AsyncSession, source: Account | None, email: str) -> User | None:
    """The person with all that is theirs, on the account that they would leave."""
    if source is None:
        return None
    person = await session.get_one(PersonRow, email)
    return leaver(source, email, person.chat_messages)


def _of_nothing(order: PreviewInvitation, source: Account | None, target: Account) -> Preview:
    """Who owns no account leaves no money behind (SRC-3)."""
    invite, terms = order.invite, terms_of(order.invite.policy, source)
    quoted = nothing(order.at, terms, (source or target).currency)
    return preview(quoted).model_copy(
        update={
            "stays_behind": stays(source, invite.email, target.name),
            "loses": losses(source, invite.email, invite.license),
        }
    )


def _of_a_closing(
    order: PreviewInvitation, source: Account, target: Account
) -> InvitationPreviewed:
    """The account is closed behind its owner: what comes of its money, and what blocks it."""
    invite, at = order.invite, order.at
    recorded = _binding(order, source)
    quoted = recorded.quote
    asked = must_choose(source, invite.email, quoted)
    shown = preview(
        quoted,
        calendar_of(source).arrives_between(invite.policy, at),
        target,
        recorded.valid_until if asked else None,
    )
    more = {
        "moves": credit_taken_along(source, target, quoted),
        "stays_behind": (
            *stays(source, invite.email, target.name),
            *credit_left_behind(source, target, quoted),
        ),
        "loses": losses(source, invite.email, invite.license),
        "blockers": blockers(source, invite.email),
    }
    return InvitationPreviewed(
        preview=shown.model_copy(update=more), quote=recorded if asked else None
    )


def _binding(order: PreviewInvitation, source: Account) -> RecordedQuote:
    """The quote that was shown, while it binds; else one of this moment (QUO-5)."""
    policy, at = order.invite.policy, order.at
    terms = terms_of(policy, source)
    now = quote(source, at, terms) if source.paid else nothing(at, terms, source.currency)
    if order.recorded and order.recorded.binds(at, now):
        return order.recorded
    return RecordedQuote(quote=now, valid_until=at + timedelta(hours=policy.quote_valid_hours))
