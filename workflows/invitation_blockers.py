"""The blockers of an invitation: recorded, rechecked and cleared (BLK)."""

from datetime import datetime
from typing import TypedDict

from temporalio import workflow
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from pydantic import TypeAdapter

    from activities.invitation import InvitationActivities, ReadInvitation
    from domain.blocker import blocked, recheck_at
    from domain.error import ErrorCode, Refused
    from domain.invitation import Blocker, CarriedInvitation, InvitationState
    from domain.journal import ENGINE
    from workflows.invitation_details import InvitationLifecycle
    from workflows.options import STORE

_BLOCKERS = TypeAdapter(tuple[Blocker, ...])

_CHECKED_AFTER_BLOCKERS = frozenset(
    {ErrorCode.CHOICE_REQUIRED, ErrorCode.CURRENCY_MISMATCH, ErrorCode.QUOTE_EXPIRED}
)
"""Refusals that the store raises only when no blocker is left."""


class CarriedBlockers(TypedDict):
    """State of the blockers that continue-as-new carries over."""

    blocked_since: datetime | None
    rechecks: int
    notified_blockers: tuple[Blocker, ...]


class InvitationBlockers:
    """The blockers of one invitation, and their rechecks."""

    __slots__ = ("_blocked_since", "_lifecycle", "_notified", "_rechecks", "recheck_requested")

    def __init__(self, lifecycle: InvitationLifecycle, carried: CarriedInvitation | None) -> None:
        self._lifecycle = lifecycle
        self._blocked_since = carried.blocked_since if carried else None
        self._rechecks = carried.rechecks if carried else 0
        self._notified = carried.notified_blockers if carried else ()
        self.recheck_requested = False
        lifecycle.next_recheck = lambda: self.recheck_at
        if self._blocked_since:
            lifecycle.publish_details()

    def carried(self) -> CarriedBlockers:
        """Return the state to carry over to the next run."""
        return CarriedBlockers(
            blocked_since=self._blocked_since,
            rechecks=self._rechecks,
            notified_blockers=self._notified,
        )

    def request_recheck(self) -> None:
        """Make the waiting loop refresh the invitation from the store."""
        self.recheck_requested = True

    @property
    def recheck_at(self) -> datetime | None:
        """The time of the next recheck; None unless blocked."""
        if self._lifecycle.record.state is InvitationState.BLOCKED and self._blocked_since:
            return recheck_at(self._blocked_since, self._rechecks)
        return None

    async def recheck(self) -> None:
        """Refresh from the store because a recheck was due."""
        self._rechecks += 1
        await self.refresh_from_store()
        self._lifecycle.publish_details()

    async def refresh_from_store(self) -> None:
        """Refresh from the store, under the update lock."""
        async with self._lifecycle.update_lock:
            await self.refresh_locked()

    async def refresh_locked(self, *, by: str = ENGINE) -> None:
        """Apply the end or the blockers in the store; `by` is the author of a resumption.

        The caller holds the update lock.
        """
        lifecycle = self._lifecycle
        self.recheck_requested = False
        if not lifecycle.record.state.unanswered:
            return
        stored = await workflow.execute_activity_method(
            InvitationActivities.read_invitation,
            ReadInvitation(invite=lifecycle.invite),
            **STORE | ActivityConfig(summary="Read state and blockers"),
        )
        if not stored.invitation.state.unanswered:
            lifecycle.keep(stored)
        elif lifecycle.record.state is InvitationState.BLOCKED:
            await self._apply_blockers(stored.blockers, by=by)

    async def apply_refusal(self, refused: Refused, *, by: str) -> None:
        """Block or unblock the invitation after a refused acceptance by `by`."""
        if refused.code is ErrorCode.BLOCKED:
            blockers = _BLOCKERS.validate_python(refused.details["blockers"])
            await self._block(blockers, by=by)
        elif (
            refused.code in _CHECKED_AFTER_BLOCKERS
            and self._lifecycle.record.state is InvitationState.BLOCKED
        ):
            await self._unblock(by=by)

    async def apply_previewed(self, blockers: tuple[Blocker, ...], *, by: str) -> Refused | None:
        """Record the blockers of a preview as at an acceptance; return the refusal, if any."""
        if blockers:
            await self._block(blockers, by=by)
            return blocked(blockers)
        if self._lifecycle.record.state is InvitationState.BLOCKED:
            await self._unblock(by=by)
        return None

    async def _apply_blockers(self, blockers: tuple[Blocker, ...], *, by: str) -> None:
        """Record the remaining blockers, or unblock the invitation without any (BLK-4)."""
        invitation = self._lifecycle.record
        if not blockers:
            await self._unblock(by=by)
        elif blockers != invitation.blockers:
            self._blocked_since, self._rechecks = workflow.now(), 0
            await self._lifecycle.write(invitation.model_copy(update={"blockers": blockers}))

    async def _block(self, blockers: tuple[Blocker, ...], *, by: str) -> None:
        """Record the blockers unless the invitee knows them; the store notifies them (BLK-4)."""
        invitation = self._lifecycle.record
        if blockers == invitation.blockers == self._notified:
            return
        if self._lifecycle.invite.policy.pause_while_blocked:
            invitation = invitation.paused(workflow.now())
        self._blocked_since, self._rechecks = workflow.now(), 0
        await self._lifecycle.write(
            self._lifecycle.next_record(
                "block",
                by=by,
                blockers=blockers,
                expires_at=invitation.expires_at,
                time_left=invitation.time_left,
            )
        )
        self._notified = blockers

    async def _unblock(self, *, by: str) -> None:
        resumed = self._lifecycle.record.resumed(workflow.now())
        self._blocked_since, self._notified = None, ()
        await self._lifecycle.write(
            self._lifecycle.next_record("unblock", by=by, expires_at=resumed.expires_at)
        )
