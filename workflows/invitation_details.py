"""The record of an invitation as it is published: store, search attributes, Current Details."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.invitation import (
        EndInvitation,
        InvitationActivities,
        NotifyParties,
        RecordInvitation,
    )
    from domain.address import masked
    from domain.invitation import Blocker, Invitation, Invite, Settlement
    from states.invitation import InvitationMachine
    from workflows import search_attribute
    from workflows.lifecycle import Lifecycle
    from workflows.notice import start_notice
    from workflows.options import STORE


class InvitationLifecycle(Lifecycle[Invitation]):
    """The machine of one invitation, shared by the workflow and its parts."""

    __slots__ = ("invite", "next_recheck", "update_lock")

    def __init__(self, invite: Invite, invitation: Invitation) -> None:
        self.invite = invite
        # Answers are handled one at a time, in the order of arrival (INV-10).
        self.update_lock = asyncio.Lock()
        # Set by the part that rechecks the blockers.
        self.next_recheck: Callable[[], datetime | None] = lambda: None
        super().__init__(
            InvitationMachine,
            invitation,
            search_attributes=lambda invitation: search_attributes(invite, invitation),
            facts=lambda invitation: facts(invitation, self.next_recheck()),
        )

    async def write(self, invitation: Invitation) -> None:
        """Write `invitation` to the store, then apply it."""
        await workflow.execute_activity_method(
            InvitationActivities.record_invitation,
            RecordInvitation(invite=self.invite, invitation=invitation),
            **STORE | ActivityConfig(summary=f"Write the record: {invitation.state}"),
        )
        self.apply(invitation)

    async def end(self, event: str, *, by: str, note: str | None = None) -> None:
        """Write the end to the store, which keeps the first one; apply the stored end."""
        ended = self.next_record(event, by=by, note=note)
        stored = await workflow.execute_activity_method(
            InvitationActivities.end_invitation,
            EndInvitation(invite=self.invite, invitation=ended),
            **STORE | ActivityConfig(summary=f"Write the end: {ended.state}"),
        )
        self.apply(stored)

    async def start_notice(self, workflow_id: str) -> None:
        """Start a workflow that sends the letters about the current state.

        The invitation does not wait for it, so the id of an ended one is free at once (INV-8).
        """
        await start_notice(
            NotifyParties(invite=self.invite, invitation=self.record),
            id=workflow_id,
            summary=f"{masked(self.invite.email)} is {self.record.state}",
        )


def search_attributes(invite: Invite, invitation: Invitation) -> TypedSearchAttributes:
    """Return the search attributes of an invitation; never an address."""
    attributes = TypedSearchAttributes(
        [
            SearchAttributePair(search_attribute.ACCOUNT_ID, invite.account),
            SearchAttributePair(search_attribute.INVITEE_KEY, invite.key),
            SearchAttributePair(search_attribute.LIFECYCLE_STATE, invitation.state.value),
        ]
    )
    if codes := [blocker.code for blocker in invitation.blockers]:
        attributes = attributes.updated(SearchAttributePair(search_attribute.BLOCKERS, codes))
    if deadline := invitation.expires_at:
        attributes = attributes.updated(SearchAttributePair(search_attribute.DEADLINE, deadline))
    if quiet_since := invitation.quiet_since:
        attributes = attributes.updated(
            SearchAttributePair(search_attribute.QUIET_SINCE, quiet_since)
        )
    return attributes


def facts(invitation: Invitation, next_recheck: datetime | None = None) -> Mapping[str, str]:
    """Return the facts that Current Details show, by name."""
    unanswered = invitation.state.unanswered
    mailed = any(entry.event == "deliver" for entry in invitation.journal)
    source = next((blocker.account for blocker in invitation.blockers), "")
    return {
        "Invitee": f"{masked(invitation.email)}, as {invitation.license}",
        "Account": f"`{invitation.account}`, invited by {masked(invitation.invited_by)}",
        "Goes out": _utc(invitation.goes_out_at) if unanswered and not mailed else "",
        "Answer before": _utc(invitation.expires_at) if unanswered else "",
        "Deadline paused": f"with {invitation.time_left} left" if invitation.time_left else "",
        "Invitation e-mails": str(invitation.sent_count) if mailed else "",
        "Reminders": str(invitation.reminders_sent or ""),
        "Blocked by": "; ".join(_blocker_text(blocker) for blocker in invitation.blockers),
        "Source account": f"`{source}`" if source else "",
        "Next recheck": _utc(next_recheck),
        "Settlement": _settlement_text(invitation.settlement),
        "Moved data": ", ".join(f"{item.item} {item.status}" for item in invitation.manifest),
    }


def _utc(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else ""


def _blocker_text(blocker: Blocker) -> str:
    """Return the code and the number of items by kind, without ids: a user's is an address."""
    kinds = Counter(item.kind for item in blocker.items)
    return f"{blocker.code} ({', '.join(f'{kind} × {n}' for kind, n in kinds.items())})"


def _settlement_text(settlement: Settlement | None) -> str:
    if settlement is None:
        return ""
    amount = f"{settlement.kind} of {settlement.amount.amount:f} {settlement.amount.currency}"
    if settlement.arrives_between is None:
        return amount
    first, last = settlement.arrives_between
    return f"{amount}, arrives between {first} and {last}"
