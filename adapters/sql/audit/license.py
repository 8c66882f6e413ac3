"""Checks of license pools and their holders (AUD)."""

from typing import Final

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from adapters.sql.audit.check import Check
from adapters.sql.database.schema import (
    WORKPLACE,
    AssignmentRequestRow,
    AssignmentRow,
    HeldLicenseRow,
    InvitationRow,
    LicensePoolRow,
    MeetingRow,
    MembershipRow,
    WebinarRow,
)
from domain.assignment import AssignmentState
from domain.audit import Violation
from domain.license import Sku

_CURRENT: Final = MembershipRow.until.is_(None)
_ITS_HOLDER: Final = (
    (MembershipRow.id == HeldLicenseRow.membership_id)
    & (MembershipRow.account_id == HeldLicenseRow.account_id)
    & _CURRENT
)
_ITS_POOL: Final = (
    (HeldLicenseRow.account_id == LicensePoolRow.account_id)
    & (HeldLicenseRow.sku == LicensePoolRow.sku)
    & (HeldLicenseRow.capacity == LicensePoolRow.capacity)
)
_ITS_USER: Final = (
    (MembershipRow.account_id == AssignmentRow.account_id)
    & (MembershipRow.email == AssignmentRow.email)
    & _CURRENT
)


def _of_base_licenses(broken: ColumnElement[bool]) -> Select[str]:
    return select(LicensePoolRow.account_id).where(LicensePoolRow.sku == WORKPLACE, broken)


def _hosts_with_another_capacity(
    sku: Sku, hosted: type[MeetingRow] | type[WebinarRow]
) -> Select[str]:
    return (
        select(MembershipRow.email)
        .join(HeldLicenseRow, _ITS_HOLDER)
        .where(
            HeldLicenseRow.sku == sku,
            exists()
            .where(
                hosted.host == MembershipRow.email,
                hosted.capacity.is_distinct_from(HeldLicenseRow.capacity),
            )
            .correlate(MembershipRow, HeldLicenseRow),
        )
    )


LICENSE_CHECKS: Final = (
    Check(
        "ASG-6",
        "more licenses are assigned and reserved than were bought, or fewer than none",
        select(LicensePoolRow.account_id).where(
            (LicensePoolRow.assigned < 0)
            | (LicensePoolRow.reserved < 0)
            | (LicensePoolRow.assigned + LicensePoolRow.reserved > LicensePoolRow.bought)
        ),
    ),
    Check(
        "AUD",
        "the base licenses counted as assigned are not those of its licensed users",
        _of_base_licenses(
            LicensePoolRow.assigned
            != select(func.count())
            .where(
                MembershipRow.account_id == LicensePoolRow.account_id,
                MembershipRow.licensed,
                _CURRENT,
            )
            .scalar_subquery()
        ),
    ),
    Check(
        "INV-15",
        "the base licenses counted as reserved are not those of its invitations",
        _of_base_licenses(
            LicensePoolRow.reserved
            != select(func.count())
            .where(
                InvitationRow.account_id == LicensePoolRow.account_id, InvitationRow.seat_reserved
            )
            .scalar_subquery()
        ),
    ),
    Check(
        "AUD",
        "the add-ons counted as assigned are not those that its users hold, or some are reserved",
        select(LicensePoolRow.account_id).where(
            LicensePoolRow.sku != WORKPLACE,
            (LicensePoolRow.reserved != 0)
            | (LicensePoolRow.assigned != select(func.count()).where(_ITS_POOL).scalar_subquery()),
        ),
    ),
    Check(
        "ASG-4",
        "the user holds more than one add-on of a kind",
        select(MembershipRow.email)
        .join(HeldLicenseRow, HeldLicenseRow.membership_id == MembershipRow.id)
        .group_by(MembershipRow.email, HeldLicenseRow.sku)
        .having(func.count() > 1),
    ),
    Check(
        "ASG-1",
        "the user holds an add-on, but has no base license there",
        select(MembershipRow.email)
        .join(HeldLicenseRow, HeldLicenseRow.membership_id == MembershipRow.id)
        .where(~exists().where(_ITS_HOLDER, MembershipRow.licensed).correlate(HeldLicenseRow)),
    ),
    Check(
        "ASG-3",
        "a meeting does not have the capacity of its host's license",
        _hosts_with_another_capacity(Sku.LARGE_MEETING, MeetingRow),
    ),
    Check(
        "ASG-8",
        "a webinar does not have the capacity of its host's license",
        _hosts_with_another_capacity(Sku.WEBINAR, WebinarRow),
    ),
    Check(
        "ASG-5",
        "the user waits for a license, and one is free",
        select(AssignmentRow.email)
        .join(
            MembershipRow,
            (MembershipRow.account_id == AssignmentRow.account_id)
            & (MembershipRow.email == AssignmentRow.email)
            & _CURRENT,
        )
        .join(
            LicensePoolRow,
            (LicensePoolRow.account_id == AssignmentRow.account_id)
            & (LicensePoolRow.sku == AssignmentRow.sku)
            & (LicensePoolRow.capacity == AssignmentRow.capacity),
        )
        .where(
            AssignmentRow.state == AssignmentState.WAITING,
            (AssignmentRow.sku == WORKPLACE) | MembershipRow.licensed,
            LicensePoolRow.bought > LicensePoolRow.assigned + LicensePoolRow.reserved,
        ),
    ),
    Check(
        "ASG-5",
        "the person waits for a license, but is not a user of the account",
        select(AssignmentRow.email).where(
            AssignmentRow.state == AssignmentState.WAITING, ~exists().where(_ITS_USER)
        ),
    ),
    Check(
        "ASG-4",
        "an add-on counts as assigned, but the user does not hold it",
        select(AssignmentRow.email).where(
            AssignmentRow.state == AssignmentState.ASSIGNED,
            AssignmentRow.sku != WORKPLACE,
            ~exists().where(
                _ITS_USER,
                HeldLicenseRow.membership_id == MembershipRow.id,
                HeldLicenseRow.sku == AssignmentRow.sku,
                HeldLicenseRow.capacity == AssignmentRow.capacity,
            ),
        ),
    ),
)


async def license_violations(session: AsyncSession) -> list[Violation]:
    """Compare the requests of licenses with the assignments of their users (ASG-5)."""
    requests = await session.scalars(
        select(AssignmentRequestRow)
        .order_by(AssignmentRequestRow.request_id)
        .options(selectinload(AssignmentRequestRow.assignments))
    )
    return [
        Violation(
            rule="ASG-5",
            subject=row.request_id,
            message="the request differs from the assignments of its users",
        )
        for row in requests
        if not _agree(row)
    ]


def _agree(row: AssignmentRequestRow) -> bool:
    ordered = row.ordered
    return (
        (ordered.request_id, ordered.account) == (row.request_id, row.account_id)
        and sorted(each.email for each in row.assignments) == sorted(ordered.emails)
        and len({each.capacity for each in row.assignments}) == 1
        and all(
            (each.account_id, each.sku, each.gives_base_license)
            == (row.account_id, ordered.sku, ordered.give_base_license)
            and (ordered.capacity is None or each.capacity == ordered.capacity)
            and each.state != AssignmentState.REQUESTED
            and (each.error is not None) == (each.state in _WITH_ERROR)
            for each in row.assignments
        )
    )


_WITH_ERROR: Final = (AssignmentState.WAITING, AssignmentState.REFUSED)
