"""Rules about the accounts that people belong to and may be invited into."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.account import Role
from domain.error import ErrorCode, Refused
from domain.invitation import Invite
from domain.journal import day_of


class PayingAccount(Protocol):
    """An account, as far as `require_paid` depends on it."""

    @property
    def id(self) -> str:
        """The account's id."""

    @property
    def paid(self) -> bool:
        """True unless the plan is `free`."""

    @property
    def suspended(self) -> bool:
        """True while the account is suspended."""

    @property
    def state(self) -> str:
        """`open` or `closed`."""


@dataclass(frozen=True)
class Membership:
    """The account that a person is on today, and their role there."""

    account: str
    role: Role
    paid: bool
    """True if the account is a paid one."""
    follows_owner: bool
    """True if the account's owner has an invitation into the same target account (BLK-6)."""
    since: datetime | None = None
    """None for an imported membership, which is older than the import."""


def require_paid(target: PayingAccount) -> None:
    """Raise Refused(target_not_paid) unless the account is paid, open and not suspended.

    (INV-1, INV-12)
    """
    if target.state == "closed":
        reason = "is closed"
    elif target.suspended:
        reason = "is suspended"
    elif not target.paid:
        reason = "has the free plan; only a paid account can do this"
    else:
        return
    raise Refused(ErrorCode.TARGET_NOT_PAID, f"{target.id} {reason}.")


def require_invitable(invite: Invite, membership: Membership | None) -> None:
    """Raise Refused if the person is on the target account, or belongs to another company.

    The codes are `already_member` (INV-3) and `belongs_to_other_account` (SRC-4). A plain
    member of a paid account can join only if its owner is invited to the same account (BLK-6).
    """
    if membership is None:
        return
    if membership.account == invite.account:
        since = f"since {day_of(membership.since)}" if membership.since else "already"
        raise Refused(ErrorCode.ALREADY_MEMBER, f"{invite.email} is on {invite.account} {since}.")
    plain = membership.paid and membership.role is not Role.OWNER
    if plain and not membership.follows_owner:
        raise Refused(
            ErrorCode.BELONGS_TO_OTHER_ACCOUNT,
            f"{invite.email} is a member of another paid account.",
        )
