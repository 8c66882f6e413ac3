"""E-mails to users about their licenses, and to the admin who assigned them (ASG)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Literal

from domain.assignment import AssignmentResult, AssignmentState
from domain.letter.base import BaseLetter, Contact, Guide, Reader, contact_for
from domain.license import CAPACITY_WITHOUT_ADDON, Sku
from domain.model import Value
from domain.text import OneLine


class HolderParties(Value):
    """The people concerned by an assignment, as the directory has them now."""

    account_name: OneLine
    holders: tuple[Reader, ...]
    """The users who got or lost a license."""
    requested_by: Reader | None = None
    """The admin who requested it; None when the directory no longer has them."""
    admins: tuple[Reader, ...] = ()
    """The owner and admins of the account, the owner first."""

    def contact_of(self, reader: Reader) -> Contact | None:
        """Return the admin who requested it, else the owner or another admin."""
        requested_by = (self.requested_by,) if self.requested_by else ()
        return contact_for(reader, *requested_by, *self.admins)


class LicenseAssignedLetter(BaseLetter):
    """E-mail to the user: a license is assigned, with immediate effect (ASG-3)."""

    event: Literal["license_assigned"] = "license_assigned"
    sku: Sku
    capacity: int | None = None
    """The new number of participants of what they host with it; None for a base license."""


class LicenseReleasedLetter(BaseLetter):
    """E-mail to the user: their license was taken back, with immediate effect (ASG-3, ADD-7)."""

    event: Literal["license_released"] = "license_released"
    sku: Sku
    without: int | None = None
    """The new number of participants of their meetings, if it changed."""
    webinars_without: int | None = None
    """The new number of participants of their webinars, if it changed."""


class LicenseServedLetter(BaseLetter):
    """E-mail to the requesting admin: no user waits for a license any more (ASG-5)."""

    guide: ClassVar[Guide | None] = "admin"
    event: Literal["license_served"] = "license_served"
    sku: Sku
    served: tuple[str, ...]
    """The waiting users who got a license."""
    without: tuple[str, ...] = ()
    """The waiting users who got none and no longer wait."""


AnyLicenseLetter = LicenseAssignedLetter | LicenseReleasedLetter | LicenseServedLetter


def license_letters(
    notice: str,
    sku: Sku,
    results: Iterable[AssignmentResult],
    waited: Sequence[AssignmentResult],
    parties: HolderParties,
) -> Iterator[AnyLicenseLetter]:
    """Yield the e-mails to users who got or lost a license, and to the requesting admin.

    `waited` has the users who had to wait, once none waits any more. Waiting users are not
    notified: the admin sees them in the result of the request, and they may never get a license.
    """
    readers = {reader.email: reader for reader in parties.holders}
    for number, result in enumerate(results, start=1):
        if reader := readers.get(result.email):
            about = f"{number}.{notice}"
            yield from _holder_letters(about, sku, result, reader, parties)
    if waited and parties.requested_by:
        served = {each.email for each in waited if each.state is AssignmentState.ASSIGNED}
        emails = [each.email for each in waited]
        yield LicenseServedLetter(
            id=f"license_served.{notice}",
            reader=parties.requested_by,
            account_name=parties.account_name,
            contact=parties.contact_of(parties.requested_by),
            sku=sku,
            served=tuple(email for email in emails if email in served),
            without=tuple(email for email in emails if email not in served),
        )


def _holder_letters(
    about: str, sku: Sku, result: AssignmentResult, reader: Reader, parties: HolderParties
) -> Iterator[LicenseAssignedLetter | LicenseReleasedLetter]:
    match result.state:
        case AssignmentState.ASSIGNED:
            yield LicenseAssignedLetter(
                id=f"license_assigned.{about}",
                reader=reader,
                account_name=parties.account_name,
                contact=parties.contact_of(reader),
                sku=sku,
                capacity=result.capacity,
            )
        case AssignmentState.RELEASED:
            # Taking a base license may take add-ons as well (ASG-7).
            meetings = result.meetings or (sku is Sku.LARGE_MEETING and result.capacity)
            webinars = result.webinars or (sku is Sku.WEBINAR and result.capacity)
            yield LicenseReleasedLetter(
                id=f"license_released.{about}",
                reader=reader,
                account_name=parties.account_name,
                contact=parties.contact_of(reader),
                sku=sku,
                without=CAPACITY_WITHOUT_ADDON if meetings else None,
                webinars_without=CAPACITY_WITHOUT_ADDON if webinars else None,
            )
