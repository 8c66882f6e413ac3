"""Checks of license pools and their holders (AUD)."""

from typing import Final

from sqlalchemy import ColumnElement, Select, exists, func, select

from adapters.sql.audit.check import Check
from adapters.sql.database.schema import (
    WORKPLACE,
    AssignmentRow,
    HeldLicenseRow,
    InvitationRow,
    LicensePoolRow,
    MeetingRow,
    MembershipRow,
    WebinarRow,
)
from domain.assignment import AssignmentState
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
)
