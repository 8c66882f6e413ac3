"""Letters about licenses: readers and facts of each change (ASG)."""

import pytest

from domain.assignment import AssignmentResult
from domain.letter import Letter
from domain.letter.base import Reader
from domain.letter.license import (
    HolderParties,
    LicenseAssignedLetter,
    LicenseReleasedLetter,
    LicenseServedLetter,
    license_letters,
)
from domain.license import Sku

JANE = Reader(email="jane@example.com", name="Jane")
EVE = Reader(email="eve@acme.example", name="Eve")
EVENT = {"id": "e", "topic": "All hands", "starts_at": "2026-04-01T09:00:00Z"}


def a_result(email: str, state: str, **members: object) -> AssignmentResult:
    return AssignmentResult.model_validate({"email": email, "state": state, **members})


def letters_to_holders(
    *results: AssignmentResult,
    waited: tuple[AssignmentResult, ...] = (),
    sku: Sku = Sku.LARGE_MEETING,
) -> list[Letter]:
    parties = HolderParties(account_name="Acme", holders=(JANE,), requested_by=EVE)
    return list(license_letters("n-1", sku, results, waited, parties))


def test_each_user_gets_one_letter_for_each_change_of_their_license() -> None:
    """ASG-3: assignments and releases take effect at once."""
    [assigned] = letters_to_holders(a_result(JANE.email, "assigned", capacity=500))
    assert isinstance(assigned, LicenseAssignedLetter)
    assert (assigned.id, assigned.reader, assigned.capacity) == (
        "license_assigned.1.n-1",
        JANE,
        500,
    )
    [released] = letters_to_holders(a_result(JANE.email, "released", capacity=500))
    assert isinstance(released, LicenseReleasedLetter)
    assert released.without == 100


@pytest.mark.parametrize(
    ("sku", "hosted", "without"),
    [
        (Sku.LARGE_MEETING, {"capacity": 500}, (100, None)),
        (Sku.WEBINAR, {"capacity": 500}, (None, 100)),
        (Sku.WORKPLACE, {}, (None, None)),
        (Sku.WORKPLACE, {"meetings": [EVENT]}, (100, None)),
        (Sku.WORKPLACE, {"meetings": [EVENT], "webinars": [EVENT]}, (100, 100)),
    ],
)
def test_a_release_names_the_events_that_it_concerns(
    sku: Sku, hosted: dict[str, object], without: tuple[int | None, int | None]
) -> None:
    """ASG-7, ASG-8: meetings, webinars, or both with a cascade."""
    [letter] = letters_to_holders(a_result(JANE.email, "released", **hosted), sku=sku)
    assert isinstance(letter, LicenseReleasedLetter)
    assert (letter.without, letter.webinars_without) == without


def test_a_letter_about_a_license_names_the_admin_else_the_owner() -> None:
    """TXT-4: never the reader."""
    boss = Reader(email="boss@acme.example")
    parties = HolderParties(account_name="Acme", holders=(JANE,), admins=(boss, EVE))
    assert parties.contact_of(JANE) == boss.contact
    assert parties.contact_of(boss) == EVE.contact
    requested = parties.model_copy(update={"requested_by": EVE})
    assert requested.contact_of(JANE) == EVE.contact
    assert requested.contact_of(EVE) == boss.contact


@pytest.mark.parametrize("state", ["requested", "waiting", "refused"])
def test_waiting_and_refused_users_get_no_letter(state: str) -> None:
    """ASG-5: the admin sees them in the result of the request."""
    assert letters_to_holders(a_result(JANE.email, state)) == []


def test_users_who_left_the_directory_get_no_letter() -> None:
    """ASG-3: they have no address on the account any more."""
    assert letters_to_holders(a_result("gone@acme.example", "assigned")) == []


def test_the_admin_is_notified_when_no_user_waits_any_more() -> None:
    """ASG-5: the letter lists the users served and not served."""
    waited = (a_result("a@acme.example", "assigned"), a_result("b@acme.example", "released"))
    [served] = letters_to_holders(waited=waited)
    assert isinstance(served, LicenseServedLetter)
    assert served.reader == EVE
    assert (served.served, served.without) == (("a@acme.example",), ("b@acme.example",))
