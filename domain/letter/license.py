"""E-mails to users about their licenses, and to the admin who asked (ASG)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from domain.assignment import AssignmentResult, AssignmentState
from domain.letter.base import BaseLetter, Reader
from domain.license import CAPACITY_WITHOUT_ADDON, Sku
from domain.model import Value
from domain.text import OneLine


class HolderParties(Value):
    """Whom an assignment concerns, as the directory knows them now."""

    account_name: OneLine
    holders: tuple[Reader, ...]
    """The users who have got or lost a license."""
    requested_by: Reader | None = None
    """The admin who asked; None when the directory does not know them any more."""


class LicenseAssignedLetter(BaseLetter):
    """To the user: a license is theirs, effective at once for all their meetings (ASG-3)."""

    event: Literal["license_assigned"] = "license_assigned"
    sku: Sku
    capacity: int | None = None
    """How many participants their meetings have room for now; None for a base license."""


class LicenseReleasedLetter(BaseLetter):
    """To the user: their license was taken back, effective at once (ASG-3, ADD-7)."""

    event: Literal["license_released"] = "license_released"
    sku: Sku
    without: int | None = None
    """How many they have room for now, where that has changed."""


class LicenseServedLetter(BaseLetter):
    """To the admin who asked: nobody waits for a license any more (ASG-5)."""

    event: Literal["license_served"] = "license_served"
    sku: Sku
    served: tuple[str, ...]
    """Who waited and was given a license."""
    without: tuple[str, ...] = ()
    """Who waits no longer and was given none."""


AnyLicenseLetter = LicenseAssignedLetter | LicenseReleasedLetter | LicenseServedLetter


def license_letters(
    notice: str,
    sku: Sku,
    results: Iterable[AssignmentResult],
    waited: Sequence[AssignmentResult],
    parties: HolderParties,
) -> Iterator[AnyLicenseLetter]:
    """What users are told of a license that they have got or lost, and the admin who asked.

    `waited`: those who had to wait, once nobody waits any more. Who waits is not told: the admin
    sees it in the answer to the request, and may never get a license for them.
    """
    readers = {reader.email: reader for reader in parties.holders}
    for number, result in enumerate(results, start=1):
        reader = readers.get(result.email)
        if reader is None:
            continue
        match result.state:
            case AssignmentState.ASSIGNED:
                yield LicenseAssignedLetter(
                    id=f"license_assigned.{number}.{notice}",
                    reader=reader,
                    account_name=parties.account_name,
                    sku=sku,
                    capacity=result.capacity,
                )
            case AssignmentState.RELEASED:
                yield LicenseReleasedLetter(
                    id=f"license_released.{number}.{notice}",
                    reader=reader,
                    account_name=parties.account_name,
                    sku=sku,
                    # With a base license an add-on may be gone as well (ASG-7).
                    without=CAPACITY_WITHOUT_ADDON if result.capacity or result.meetings else None,
                )
    if waited and parties.requested_by:
        served = {each.email for each in waited if each.state is AssignmentState.ASSIGNED}
        emails = [each.email for each in waited]
        yield LicenseServedLetter(
            id=f"license_served.{notice}",
            reader=parties.requested_by,
            account_name=parties.account_name,
            sku=sku,
            served=tuple(email for email in emails if email in served),
            without=tuple(email for email in emails if email not in served),
        )
