"""The record of an invitation as it is published: store, search attributes, Current Details."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.invitation import (
        EndInvitation,
        InvitationActivities,
        KeptInvitation,
        RecordInvitation,
    )
    from domain.address import masked
    from domain.invitation import Blocker, Invitation, Invite, Settlement
    from domain.refund import RefundPlan
    from states.invitation import InvitationMachine
    from workflows import search_attribute
    from workflows.lifecycle import Lifecycle
    from workflows.options import STORE


class InvitationLifecycle(Lifecycle[Invitation]):
    """The machine of one invitation, shared by the workflow and its parts."""

    __slots__ = ("invite", "next_recheck", "refund", "store_changed", "update_lock")

    def __init__(
        self, invite: Invite, invitation: Invitation, refund: RefundPlan | None = None
    ) -> None:
        self.invite = invite
        self.refund = refund
        # Set by a signal after the acceptance: the refund may have ended.
        self.store_changed = False
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

    def keep(self, kept: KeptInvitation) -> None:
        """Continue from the record that the store keeps."""
        self.refund = kept.refund or self.refund
        self.apply(kept.invitation)

    async def write(self, invitation: Invitation) -> None:
        """Write `invitation` to the store, then continue from the record that it keeps."""
        kept = await workflow.execute_activity_method(
            InvitationActivities.record_invitation,
            RecordInvitation(invite=self.invite, invitation=invitation),
            **STORE | ActivityConfig(summary=f"Write the record: {invitation.state}"),
        )
        if kept:
            self.keep(kept)
        else:
            self.apply(invitation)

    async def end(self, event: str, *, by: str, note: str | None = None) -> None:
        """Write the end to the store, which keeps the first one; continue from the kept record."""
        ended = self.next_record(event, by=by, note=note)
        self.keep(
            await workflow.execute_activity_method(
                InvitationActivities.end_invitation,
                EndInvitation(invite=self.invite, invitation=ended),
                **STORE | ActivityConfig(summary=f"Write the end: {ended.state}"),
            )
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
    kinds = ", ".join(f"{kind} × {count}" for kind, count in blocker.kinds.items())
    return f"{blocker.code} ({kinds})"


def _settlement_text(settlement: Settlement | None) -> str:
    if settlement is None:
        return ""
    amount = f"{settlement.kind} of {settlement.amount.amount:f} {settlement.amount.currency}"
    if settlement.arrives_between is None:
        return amount
    first, last = settlement.arrives_between
    return f"{amount}, arrives between {first} and {last}"
