"""Preview of an acceptance, computed from the store without changing it (QUO-8)."""

from sqlalchemy.ext.asyncio import AsyncSession

from activities.invitation import InvitationPreviewed, PreviewInvitation
from adapters.calendar import calendar_of
from adapters.sql.database.schema import PersonRow
from adapters.sql.invitations.blocker import blockers_of
from adapters.sql.membership import current_membership, load_account, load_source
from domain.account import Account
from domain.invitation import Invite
from domain.preview import RefundTerms, preview_acceptance
from domain.quote import Returnable


async def build_preview(
    session: AsyncSession, request: PreviewInvitation, returnable: Returnable
) -> InvitationPreviewed:
    """Return the preview, with the recorded quote while it binds, else with a new one."""
    invite = request.invite
    source = await source_of(session, invite)
    person = await session.get(PersonRow, invite.email)
    found, quote = preview_acceptance(
        invite,
        request.at,
        source,
        await load_account(session, invite.account, only=invite.email),
        blockers=await blockers_of(session, source, invite.email),
        chat_messages=person.chat_messages if person else 0,
        shown=request.recorded,
        refunds=RefundTerms(calendar_of, returnable),
    )
    return InvitationPreviewed(preview=found, quote=quote)


async def source_of(session: AsyncSession, invite: Invite) -> Account | None:
    """Return the account that the invitee would leave; None if there is none."""
    membership = await current_membership(session, invite.email)
    joined = membership is not None and membership.account_id == invite.account
    return None if joined else await load_source(session, membership)
