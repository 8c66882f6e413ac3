"""What accepting would do, told from the store without a change to it (QUO-8)."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from activities.invitation import InvitationPreviewed, PreviewInvitation
from adapters.sql.accounts.directory import load_account
from adapters.sql.database.schema import PersonRow
from adapters.sql.membership import home
from adapters.sql.money.refund_schedule import arrives_between
from domain.account import Account, Role, User
from domain.blocker import find_blockers
from domain.invitation import Invite
from domain.preview import (
    Preview,
    loss_notices,
    moving_credit_notices,
    moving_notices,
    preview,
    staying_credit_notices,
    staying_notices,
)
from domain.quote import RecordedQuote, must_choose, nothing, quote, terms_of


async def previewed(session: AsyncSession, order: PreviewInvitation) -> InvitationPreviewed:
    """What accepting would do; while the recorded quote binds, it is shown again."""
    invite = order.invite
    source = await source_of(session, invite)
    target = await load_account(session, invite.account, only=invite.email)
    if source is None or not owned(source, invite.email):
        told = InvitationPreviewed(preview=_of_nothing(order, source, target))
    else:
        told = _of_a_closing(order, source, target)
    moves = (
        *moving_notices(await _leaver(session, source, invite.email), target),
        *told.preview.moves,
    )
    return told.model_copy(update={"preview": told.preview.model_copy(update={"moves": moves})})


async def source_of(session: AsyncSession, invite: Invite) -> Account | None:
    """The account that the invitee would leave: an owner's whole, else as far as it is theirs."""
    membership = await home(session, invite.email)
    if membership is None or membership.account_id == invite.account:
        return None
    only = None if membership.role == Role.OWNER else invite.email
    return await load_account(session, membership.account_id, only=only)


async def _leaver(session: AsyncSession, source: Account | None, email: str) -> User | None:
    """The person with all that is theirs, on the account that they would leave."""
    user = source.user(email) if source else None
    if user is None:
        return None
    person = await session.get_one(PersonRow, email)
    # Chat history is the person's own, on whichever account it was written (TRF-4).
    return user.model_copy(update={"chat_messages": person.chat_messages})


def owned(source: Account, email: str) -> bool:
    """Whether the account closes when that person leaves it (SRC-2)."""
    return source.owner is not None and source.owner.email == email


def _of_nothing(order: PreviewInvitation, source: Account | None, target: Account) -> Preview:
    """Who owns no account leaves no money behind (SRC-3)."""
    invite, terms = order.invite, terms_of(order.invite.policy, source)
    quoted = nothing(order.at, terms, (source or target).currency)
    return preview(quoted).model_copy(
        update={
            "stays_behind": staying_notices(source, invite.email, target.name),
            "loses": loss_notices(source, invite.email, invite.license),
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
        arrives_between(source, invite.policy, at),
        target,
        recorded.valid_until if asked else None,
    )
    more = {
        "moves": moving_credit_notices(source, target, quoted),
        "stays_behind": (
            *staying_notices(source, invite.email, target.name),
            *staying_credit_notices(source, target, quoted),
        ),
        "loses": loss_notices(source, invite.email, invite.license),
        "blockers": find_blockers(source, invite.email),
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
